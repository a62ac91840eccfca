//! A run of bytes of one sort: what a number or a word of Base64 has, and most texts have not.

use std::ops::Range;

/// A sort of bytes, as a table: texts are looked through for several of them.
#[derive(Debug)]
pub(crate) struct ByteSet([bool; 256]);

impl ByteSet {
    /// These bytes; and the letters of ASCII, in both cases, if they are too.
    pub(crate) const fn new(bytes: &[u8], has_letters: bool) -> Self {
        let (mut set, mut i) = ([false; 256], 0);
        while i < bytes.len() {
            set[bytes[i] as usize] = true;
            i += 1;
        }
        let mut letter = b'a';
        while has_letters && letter <= b'z' {
            set[letter as usize] = true;
            set[letter.to_ascii_uppercase() as usize] = true;
            letter += 1;
        }
        Self(set)
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

/// The runs of so many of these bytes or more, each as long as it goes, in order. Of most bytes it sees few: one in each `length`.
pub(crate) fn runs<'b>(bytes: &'b [u8], length: usize, set: &'static ByteSet) -> impl Iterator<Item = Range<usize>> + use<'b> {
    let mut at = length - 1;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let here = at;
            at += length;
            if set.has(bytes[here]) {
                let before = bytes[..here].iter().rev().take_while(|b| set.has(**b)).count();
                let after = bytes[here..].iter().take_while(|b| set.has(**b)).count();
                at += after;
                if before + after >= length {
                    return Some(here - before..here + after);
                }
            }
        }
        None
    })
}

/// Whether there is such a run. A window of that length is looked at from its end, and the next begins behind what ended this one.
pub(crate) fn has_run(bytes: &[u8], length: usize, set: &ByteSet) -> bool {
    let mut end = length;
    while let Some(window) = bytes.get(end - length..end) {
        match window.iter().rposition(|b| !set.has(*b)) {
            None => return true,
            Some(at) => end += at + 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_wherever_it_stands_and_a_shorter_one_is_not() {
        static SET: ByteSet = ByteSet::new(b"x", false);
        for length in 1..6 {
            for before in 0..12 {
                for count in 0..8 {
                    let text = format!("{}{}.x.", ".".repeat(before), "x".repeat(count));
                    let wanted = [(before, count), (before + count + 1, 1)].map(|(from, count)| from..from + count);
                    let wanted: Vec<_> = wanted.into_iter().filter(|run| run.len() >= length).collect();
                    assert_eq!(has_run(text.as_bytes(), length, &SET), !wanted.is_empty(), "{text} {length}");
                    assert_eq!(runs(text.as_bytes(), length, &SET).collect::<Vec<_>>(), wanted, "{text} {length}");
                }
            }
        }
    }
}
