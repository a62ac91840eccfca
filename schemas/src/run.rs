//! A run of bytes of one sort: what a number or a word of Base64 has, and most texts have not.

/// Whether a run of so many of these bytes stands somewhere. Of most texts it sees few bytes: one in each `length`.
pub(crate) fn holds_run(bytes: &[u8], length: usize, is_part: impl Fn(u8) -> bool) -> bool {
    let mut at = length - 1;
    while at < bytes.len() {
        if is_part(bytes[at]) {
            let before = bytes[..at].iter().rev().take_while(|b| is_part(**b)).count();
            let after = bytes[at..].iter().take_while(|b| is_part(**b)).count();
            if before + after >= length {
                return true;
            }
            at += after;
        }
        at += length;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_wherever_it_stands_and_a_shorter_one_is_not() {
        let is_part = |b: u8| b == b'x';
        for length in 1..6 {
            for before in 0..12 {
                for count in 0..8 {
                    let text = format!("{}{}.x.", ".".repeat(before), "x".repeat(count));
                    assert_eq!(holds_run(text.as_bytes(), length, is_part), count >= length || length == 1, "{text} {length}");
                }
            }
        }
    }
}
