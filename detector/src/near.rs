//! What somebody may have meant who misspelt a name. Pure.

/// Most letters that may differ.
const MAX_DIFFERENT: usize = 3;

/// The name that is nearest to what was written, where one is near.
pub(crate) fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    let near = names.map(|name| (distance(&written, name), name)).filter(|(far, name)| *far <= MAX_DIFFERENT.min(name.len() / 2));
    near.min().map(|(_, name)| name)
}

/// How many letters are to be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = corner + usize::from(letter != *other);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let names = || ["known_servers", "known_tools", "absences"].into_iter();
        for (written, expected) in [
            ("known_server", Some("known_servers")),
            ("Known-Servers", Some("known_servers")),
            ("abscences", Some("absences")),
            ("knwon_tools", Some("known_tools")),
            ("budget", None),
        ] {
            assert_eq!(nearest(written, names()), expected, "{written}");
        }
        assert_eq!((distance("", "abc"), distance("abc", "abc"), distance("abcd", "abc")), (3, 0, 1));
    }
}
