//! International bank account numbers (ISO 13616): how long they are by country, and their check digits.
//!
//! For those who look for one in a text (`personal`) and those to whom a value is one (`destinations`).

/// Countries with IBANs, and how long theirs are.
const LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 \
    ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 \
    LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 \
    SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

/// The length of those that begin with these bytes: two letters of a country, then two digits.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, d] = *bytes.first_chunk()?;
    if !(a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit()) {
        return None;
    }
    let country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
    LENGTHS.split_ascii_whitespace().find(|entry| entry.as_bytes().starts_with(&country))?[2..].parse().ok()
}

/// Whether the check digits of letters and digits are right (ISO 7064): the first four moved to the end, letters as numbers, leave 1.
pub(crate) fn is_checked(plain: &str) -> bool {
    let (head, tail) = plain.split_at(4);
    tail.chars().chain(head.chars()).filter_map(|c| c.to_digit(36)).fold(0, |rest, digit| {
        let shifted = if digit > 9 { rest * 100 } else { rest * 10 };
        (shifted + digit) % 97
    }) == 1
}
