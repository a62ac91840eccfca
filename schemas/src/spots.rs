//! What a text of a record could hold that has to go: one look at the record's bytes for the signs of secrets, instead of one at
//! each of its many short texts, and one at the text itself for runs that most texts are too short for.
//!
//! Asked about texts that are borrowed from the record, which hold no escape and so say what its bytes show. Never wrong when it
//! says that a text holds nothing; what it suspects is looked at as if nobody had asked.

use std::ops::Range;

use memchr::memchr_iter;

use crate::personal::NumberRuns;
use crate::privacy::Privacy;
use crate::{encoded, personal, secrets};

/// Room for as many as most records have.
const USUAL: usize = 32;
/// Most that are noted, also of a record of 64 MiB: with more there is little that would be clear.
const MAX_NOTED: usize = 4_096;

/// Spots as they are found.
#[derive(Debug)]
pub(crate) struct Noted {
    ranges: Vec<Range<usize>>,
    is_too_many: bool,
}

impl Noted {
    fn new() -> Self {
        Self { ranges: Vec::with_capacity(USUAL), is_too_many: false }
    }

    /// Notes some, until they are too many. Neighbours become one.
    pub(crate) fn all(&mut self, spots: impl Iterator<Item = Range<usize>>) {
        for spot in spots {
            let has_room = self.ranges.len() < MAX_NOTED;
            match self.ranges.last_mut() {
                Some(last) if last.end == spot.start => last.end = spot.end,
                _ if has_room => self.ranges.push(spot),
                _ => {
                    self.is_too_many = true;
                    return;
                }
            }
        }
    }

    /// Notes each place of a byte.
    pub(crate) fn each(&mut self, byte: u8, bytes: &[u8]) {
        self.all(memchr_iter(byte, bytes).map(|at| at..at + 1));
    }

    /// In order, and apart from each other.
    fn merged(mut self) -> Vec<Range<usize>> {
        self.ranges.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(self.ranges.len());
        for range in self.ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }
}

/// What a text could hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suspicion {
    /// A secret that has a form.
    pub(crate) is_secret: bool,
    /// A text behind an encoding.
    pub(crate) is_encoded: bool,
    /// Something personal.
    pub(crate) is_personal: bool,
}

impl Suspicion {
    /// Of a text of which nothing is known.
    pub(crate) const ALL: Self = Self { is_secret: true, is_encoded: true, is_personal: true };
    const NONE: Self = Self { is_secret: false, is_encoded: false, is_personal: false };

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// The spots of one record.
#[derive(Debug)]
pub(crate) struct Spots<'r> {
    record: &'r [u8],
    numbers: NumberRuns,
    /// In order, and apart from each other.
    ranges: Vec<Range<usize>>,
    /// Whether any text holds a sign of a secret.
    pub(crate) hold_signs: bool,
}

impl<'r> Spots<'r> {
    pub(crate) fn of(record: &'r [u8], privacy: &Privacy) -> Self {
        let mut noted = Noted::new();
        secrets::note_signs(record, &mut noted);
        let hold_signs = !noted.ranges.is_empty();
        secrets::note_addresses(record, &mut noted);
        encoded::note_spots(record, &mut noted);
        personal::note_spots(privacy.kinds(), record, &mut noted);
        let whole = 0..record.len();
        let ranges = if noted.is_too_many { vec![whole] } else { noted.merged() };
        Self { record, numbers: NumberRuns::of(privacy.kinds()), ranges, hold_signs }
    }

    /// What a text could hold: anything, where it is not of this record.
    pub(crate) fn suspicion(&self, text: &str) -> Suspicion {
        let Some(is_in_spot) = self.reach_into(text) else { return Suspicion::ALL };
        Suspicion {
            is_secret: is_in_spot,
            is_encoded: is_in_spot || encoded::has_run(text),
            is_personal: is_in_spot || self.numbers.are_in(text),
        }
    }

    /// Whether a secret or something personal could be in a key, encodings aside.
    pub(crate) fn is_key_suspected(&self, key: &str) -> bool {
        self.reach_into(key).is_none_or(|is_in_spot| is_in_spot || self.numbers.are_in(key))
    }

    /// Whether a text reaches into one of the spots; `None` where it is not of this record.
    fn reach_into(&self, text: &str) -> Option<bool> {
        let start = text.as_ptr().addr().wrapping_sub(self.record.as_ptr().addr());
        let is_of_record = start < self.record.len() && text.len() <= self.record.len() - start;
        let end = start.wrapping_add(text.len());
        let next = self.ranges.partition_point(|range| range.end <= start);
        is_of_record.then(|| self.ranges.get(next).is_some_and(|range| range.start < end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{self, Json};
    use crate::keys::Keys;
    use crate::privacy::Kind;
    use crate::redact::Redactor;

    fn texts<'j>(json: &'j Json<'_>, all: &mut Vec<&'j str>) {
        match json {
            Json::Text(text) | Json::Number(text) => all.push(text),
            Json::Array(items) => items.iter().for_each(|item| texts(item, all)),
            Json::Object(members) => members.iter().for_each(|(key, value)| {
                all.push(key);
                texts(value, all);
            }),
            _ => {}
        }
    }

    #[test]
    fn a_text_is_not_suspected_unless_it_holds_what_a_find_needs_or_is_not_of_the_record() {
        let record = r#"{"id":"00u1abcd","risk":"sk-live","url":"https://u:p@h/","mail":"a@b.example","at": 41111111111111111,
            "n":1764,"ip":"203.0.113.77","enc":"a%20b","blob":"dXNlcj1hbm4mcGFzc3dvcmQ9","esc":"a\tb","day":"2026-11-24T10:00:00Z"}"#;
        let json = json::parse(record.as_bytes()).unwrap();
        let mut all = Vec::new();
        texts(&json, &mut all);
        let privacy = Privacy::default();
        let spots = Spots::of(record.as_bytes(), &privacy);
        let suspects: Vec<&str> = all.into_iter().filter(|text| !spots.suspicion(text).is_none()).collect();
        let wanted =
            ["sk-live", "https://u:p@h/", "a@b.example", "41111111111111111", "203.0.113.77", "a%20b", "dXNlcj1hbm4mcGFzc3dvcmQ9", "a\tb"];
        assert_eq!(suspects, wanted);
        assert!(spots.hold_signs);
        assert_eq!(spots.suspicion("elsewhere"), Suspicion::ALL);
    }

    #[test]
    fn a_record_of_very_many_spots_is_one_spot() {
        let privacy = Privacy::default();
        let spots = |text: &str| Spots::of(text.as_bytes(), &privacy).ranges;
        let is_one = |text: &str| assert_eq!(spots(text), vec![Range { start: 0, end: text.len() }]);
        is_one(&"%".repeat(1 << 20));
        assert_eq!(spots(&"%a".repeat(MAX_NOTED)).len(), MAX_NOTED);
        is_one(&"%a".repeat(MAX_NOTED + 1));
    }

    const PIECES: &[&str] = &[
        "\"",
        "a",
        "00u1",
        " ",
        "41111111",
        "11111111",
        "-",
        "519-84-1234",
        "+49 30 1234567",
        "password=",
        "hunter2",
        "Bearer ",
        "abcdefgh",
        "https://u:",
        "p@h",
        "%3D",
        "dXNlcj1hbm4mcGFzc3dvcmQ9",
        "aHVudGVyMi1jYW5hcnk=",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "DE89370400440532013000",
        "a@b.example",
        "\n",
        "\u{e9}",
        "token",
        "patient",
        "415-555-2671",
    ];

    /// A member of a record: as text, in JSON that stands in a text, or as a number where it is one.
    fn member(number: usize, pieces: &[usize], form: u8) -> (String, serde_json::Value) {
        let text: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        let value = match (form, text.parse::<u64>()) {
            (0, _) => text.as_str().into(),
            (1, _) => serde_json::json!({ text.as_str(): [text.as_str()] }).to_string().into(),
            (_, Ok(digits)) => digits.into(),
            _ => serde_json::json!([text.as_str(), { "name": text.as_str(), "value": 4_111_111_111_111_111_u64 }]),
        };
        (format!("{text}{number}"), value)
    }

    proptest::proptest! {
        /// Whether the bytes of the record are looked through once or each text is asked makes no difference.
        #[test]
        fn a_record_is_redacted_as_its_texts_are(
            members in proptest::collection::vec((proptest::collection::vec(0..PIECES.len(), 0..6), 0..3_u8), 1..6), kinds in 0..32_u8, has_names: bool
        ) {
            let members = members.iter().enumerate().map(|(number, (pieces, form))| member(number, pieces, *form));
            let record = serde_json::Value::Object(members.collect()).to_string();
            let names = Kind::ALL.iter().enumerate().filter(|(bit, _)| kinds >> bit & 1 == 1).map(|(_, kind)| kind.name().to_owned());
            let privacy = Privacy::none().with_kinds(&names.collect::<Vec<_>>()).unwrap();
            let privacy = if has_names { privacy.with_names(&["patient".to_owned()]).unwrap() } else { privacy };
            let keys = Keys::from_master(&[7; 32]);
            let redactor = || Redactor::new(&keys, "default", &privacy);
            let (mut one, mut other) = (json::parse(record.as_bytes()).unwrap(), json::parse(record.as_bytes()).unwrap());
            let done = redactor().of_record(record.as_bytes()).element(&mut one);
            proptest::prop_assert_eq!(done, redactor().element(&mut other));
            proptest::prop_assert_eq!(one.compact(), other.compact());
        }
    }
}
