//! Networks in CIDR notation, as regular expressions over the text of an address: DataFusion has no type for addresses.
//!
//! IPv4: whole octets as they are, the octet that the prefix cuts as the list of its at most 128 values, the rest as any
//! octet. IPv6: SQL first writes the eight groups out (see [`super::sql`]), then the first `prefix / 16` groups are fixed
//! and the cut one lies in a range of four hex digits. An address with a zone (`%eth0`) counts without it; IPv6 with an
//! IPv4 tail matches no network (adapters store `::ffff:1.2.3.4` as `1.2.3.4`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `address/prefix`; without a prefix it is one address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), |p| p.parse().ok().filter(|p| *p <= bits))?;
        Some(Self { address, prefix })
    }

    /// The first address, for examples.
    pub(super) fn example(&self) -> String {
        match self.address {
            IpAddr::V4(a) => Ipv4Addr::from(u32::from(a) & mask32(self.prefix)).to_string(),
            IpAddr::V6(a) => Ipv6Addr::from(u128::from(a) & mask128(self.prefix)).to_string(),
        }
    }

    /// Whether the text is an address in it.
    pub(super) fn contains(&self, text: &str) -> bool {
        match self.address {
            IpAddr::V4(net) => text.parse::<Ipv4Addr>().is_ok_and(|a| (u32::from(a) ^ u32::from(net)) & mask32(self.prefix) == 0),
            IpAddr::V6(net) => {
                let text = text.split('%').next().unwrap_or_default();
                let address = text.parse::<Ipv6Addr>().ok().filter(|_| !text.contains('.'));
                address.is_some_and(|a| (u128::from(a) ^ u128::from(net)) & mask128(self.prefix) == 0)
            }
        }
    }

    /// Whether it is of IPv6.
    pub(super) fn is_v6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// Of IPv4: the expression that the text of an address in it matches.
    pub(super) fn v4_regex(&self) -> String {
        let IpAddr::V4(address) = self.address else { return String::new() };
        let octets = address.octets().into_iter().zip(0_u8..).map(|(octet, i)| match self.prefix.saturating_sub(8 * i) {
            0 => OCTET.to_owned(),
            8.. => octet.to_string(),
            bits => {
                let low = octet & (0xff << (8 - bits));
                let values: Vec<String> = (low..=low | (0xff >> bits)).map(|v| v.to_string()).collect();
                format!("(?:{})", values.join("|"))
            }
        });
        format!("^{}$", octets.collect::<Vec<_>>().join(r"\."))
    }

    /// Of IPv6: the lowest and the highest text of the first groups, each of four hex digits.
    pub(super) fn v6_range(&self) -> (String, String) {
        let IpAddr::V6(address) = self.address else { return Default::default() };
        let (low, high) = (u128::from(address) & mask128(self.prefix), u128::from(address) | !mask128(self.prefix));
        let groups = usize::from(self.prefix).div_ceil(16);
        let text = |bits: u128| format!("{bits:032x}")[..groups * 4].to_owned();
        (text(low), text(high))
    }
}

fn mask32(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask128(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_of_an_ipv4_network_agrees_with_arithmetic_at_every_prefix() {
        let addresses =
            ["10.0.0.0", "10.1.2.3", "10.255.255.255", "172.16.0.1", "172.31.255.254", "172.32.0.0", "255.255.255.255", "0.0.0.0"];
        for base in ["10.1.2.3", "172.16.0.0", "255.255.255.255", "0.0.0.0"] {
            for prefix in 0..=32 {
                let network = Network::parse(&format!("{base}/{prefix}")).unwrap();
                let regex = regex::Regex::new(&network.v4_regex()).unwrap();
                for address in addresses {
                    assert_eq!(regex.is_match(address), network.contains(address), "{base}/{prefix} {address}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["10.0.0.0/33", "10.0.0/8", "::/129", "x", ""] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ipv6_ranges_are_the_first_groups_in_hex() {
        assert_eq!(Network::parse("2001:db8::/32").unwrap().v6_range(), ("20010db8".into(), "20010db8".into()));
        assert_eq!(Network::parse("fc00::/7").unwrap().v6_range(), ("fc00".into(), "fdff".into()));
        assert_eq!(Network::parse("::/0").unwrap().v6_range(), (String::new(), String::new()));
    }
}
