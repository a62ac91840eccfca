//! Personal data that has a form: payment cards, bank accounts, social security numbers, mail addresses, phone numbers.
//!
//! A number is looked for only where a run of digits and separators is long enough, and is one only with its check digits,
//! its issuer or its ranges. What is found is written one way (digits alone, lower case), so however it was written its
//! token is the same. Limits: cards of 14 to 19 digits, in one piece or in the groups that are printed on them; IBANs of the
//! countries that have some; SSNs with separators; phone numbers with `+`, or of North America with separators.
//!
//! Not for: names, addresses and dates, which have no form. Digits of other scripts than Latin are not read.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use crate::iban;
use crate::privacy::Kind;
use crate::run::{self, ByteSet, runs};
use crate::spots::Noted;

/// Shortest run of digits and separators that is a number: an SSN; with phones `+` and 8 digits.
const MIN_RUN: usize = 11;
const MIN_PHONE_RUN: usize = 9;
/// Shortest IBAN.
const MIN_IBAN: usize = 15;

/// Bytes that may stand in a number as it is written.
static OF_NUMBER: ByteSet = ByteSet::new(b"0123456789 -.+()\xc2\xa0", false);
/// Bytes that may stand in an IBAN as it is written.
static OF_IBAN: ByteSet = ByteSet::new(b"0123456789 -.+\xc2\xa0", true);

/// The ways that digits of a card are grouped.
const CARD_GROUPS: &[&[usize]] = &[&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

static MAIL: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"[^\s@<>()\[\]{},;:"'|\\/=?&]+@(?:[\p{L}\p{N}-]+\.)+\p{L}[\p{L}\p{N}-]+"#;
    Regex::new(pattern).expect("the mail pattern is valid")
});

/// Something found: where it ends, and how it is written the one way.
type Found = (usize, String);

/// Notes where bytes may hold a mail address: [`replaced`] finds nothing in a text that reaches into none of these and has no run.
/// (Nor does a policy's name with its value, which stands in quotes, in a text without escapes.)
pub(crate) fn note_spots(kinds: &[Kind], bytes: &[u8], noted: &mut Noted) {
    if kinds.contains(&Kind::Mail) {
        noted.each(b'@', bytes);
    }
}

/// The runs that a text has where it holds a number of some kinds.
#[derive(Debug)]
pub(crate) struct NumberRuns {
    /// Shortest run of a number, where one is looked for.
    number: Option<usize>,
    is_iban: bool,
}

impl NumberRuns {
    pub(crate) fn of(kinds: &[Kind]) -> Self {
        Self { number: shortest_number(kinds), is_iban: kinds.contains(&Kind::Iban) }
    }

    /// Whether a text is long enough, in one piece, to hold a number of these kinds.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        let has = |length: usize, of: &ByteSet| run::has_run(text.as_bytes(), length, of);
        self.number.is_some_and(|length| has(length, &OF_NUMBER)) || (self.is_iban && has(MIN_IBAN, &OF_IBAN))
    }
}

/// The shortest run of a number of these kinds: one look for all of them.
fn shortest_number(kinds: &[Kind]) -> Option<usize> {
    let run = |kind: &Kind| match kind {
        Kind::Card | Kind::Ssn => Some(MIN_RUN),
        Kind::Phone => Some(MIN_PHONE_RUN),
        Kind::Iban | Kind::Mail => None,
    };
    kinds.iter().filter_map(run).min()
}

/// The text with `take` in the place of everything of these kinds; borrowed when there is nothing.
pub(crate) fn replaced<'t>(kinds: &[Kind], text: &'t str, take: &impl Fn(Kind, &str) -> String) -> Cow<'t, str> {
    let mut text = Cow::Borrowed(text);
    if kinds.contains(&Kind::Mail)
        && text.contains('@')
        && let Cow::Owned(changed) = MAIL.replace_all(&text, |found: &regex::Captures<'_>| take(Kind::Mail, &found[0].to_lowercase()))
    {
        text = Cow::Owned(changed);
    }
    match numbers_replaced(kinds, &text, take) {
        Some(changed) => Cow::Owned(changed),
        None => text,
    }
}

fn numbers_replaced(kinds: &[Kind], text: &str, take: &impl Fn(Kind, &str) -> String) -> Option<String> {
    let bytes = text.as_bytes();
    let ibans = kinds.contains(&Kind::Iban).then_some(0..bytes.len());
    // A text of IBANs is looked through as a whole, and its numbers with it.
    let numbers = shortest_number(kinds).filter(|_| ibans.is_none()).map(|length| runs(bytes, length, &OF_NUMBER));
    let (mut out, mut copied) = (String::new(), 0);
    for run in ibans.into_iter().chain(numbers.into_iter().flatten()) {
        let mut at = run.start.max(copied);
        while at < run.end {
            let starts = matches!(bytes[at], b'+' | b'(') || (bytes[at].is_ascii_alphanumeric() && !is_word(bytes, at.checked_sub(1)));
            match starts.then(|| number_at(kinds, bytes, at)).flatten() {
                Some((kind, (end, value))) => {
                    out.push_str(&text[copied..at]);
                    out.push_str(&take(kind, &value));
                    (copied, at) = (end, end);
                }
                // None begins within a word.
                None => at += bytes[at..run.end].iter().take_while(|b| b.is_ascii_alphanumeric()).count().max(1),
            }
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

fn number_at(kinds: &[Kind], bytes: &[u8], at: usize) -> Option<(Kind, Found)> {
    kinds.iter().find_map(|kind| {
        let found = match kind {
            Kind::Card => card(bytes, at),
            Kind::Iban => iban(bytes, at),
            Kind::Ssn => ssn(bytes, at),
            Kind::Phone => phone(bytes, at),
            Kind::Mail => None,
        };
        Some((*kind, found?))
    })
}

fn is_word(bytes: &[u8], at: Option<usize>) -> bool {
    at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric)
}

fn is_digit(bytes: &[u8], at: Option<usize>) -> bool {
    at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit)
}

/// Whether what lies between is a piece of something longer that one of these marks joins with further digits.
fn is_joined(bytes: &[u8], start: usize, end: usize, marks: &[u8]) -> bool {
    let is_mark = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|b| marks.contains(b));
    (is_mark(start.checked_sub(1)) && is_digit(bytes, start.checked_sub(2))) || (is_mark(Some(end)) && is_digit(bytes, Some(end + 1)))
}

/// How long a separator between digits is.
fn separator(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b' ' | b'-' | b'.' | b'+', ..] => Some(1),
        [0xc2, 0xa0, ..] => Some(2),
        _ => None,
    }
}

/// Digits in exactly these groups with one separator between them.
fn grouped(bytes: &[u8], start: usize, groups: &[usize]) -> Option<Found> {
    let (mut at, mut between) = (start, None);
    for (number, length) in groups.iter().enumerate() {
        if number > 0 {
            let here = bytes.get(at..at + separator(bytes.get(at..)?)?)?;
            if *between.get_or_insert(here) != here {
                return None;
            }
            at += here.len();
        }
        if !bytes.get(at..at + length)?.iter().all(u8::is_ascii_digit) {
            return None;
        }
        at += length;
    }
    let digits = || bytes[start..at].iter().filter(|b| b.is_ascii_digit()).map(|b| char::from(*b)).collect();
    (!is_word(bytes, Some(at))).then(|| (at, digits()))
}

fn card(bytes: &[u8], start: usize) -> Option<Found> {
    let length = bytes[start..].iter().take(20).take_while(|b| b.is_ascii_digit()).count();
    let is_card = |(end, digits): &Found| is_issued(digits) && luhn(digits) && !is_joined(bytes, start, *end, b".");
    match length {
        4 => CARD_GROUPS.iter().filter_map(|groups| grouped(bytes, start, groups)).find(is_card),
        14..=19 => grouped(bytes, start, &[length]).filter(is_card),
        _ => None,
    }
}

/// Whether a card of so many digits can begin so.
fn is_issued(digits: &str) -> bool {
    let first = |n: usize| digits.get(..n).and_then(|text| text.parse::<u16>().ok()).unwrap_or(0);
    match digits.len() {
        14 => matches!(first(3), 300..=305) || matches!(first(2), 36 | 38 | 39),
        15 => matches!(first(2), 34 | 37),
        16 => {
            matches!(first(2), 40..=49 | 51..=55 | 62 | 65)
                || matches!(first(3), 644..=649)
                || matches!(first(4), 2200..=2204 | 2221..=2720 | 3528..=3589 | 6011)
        }
        _ => first(2) == 62,
    }
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, b)| match (u32::from(b - b'0'), place % 2) {
            (digit, 0) => digit,
            (digit, _) => digit * 2 - if digit > 4 { 9 } else { 0 },
        })
        .sum();
    sum.is_multiple_of(10)
}

fn ssn(bytes: &[u8], start: usize) -> Option<Found> {
    let (end, digits) = grouped(bytes, start, &[3, 2, 4])?;
    let is_separated = matches!(bytes.get(start + 3), Some(b'-' | b' ' | 0xc2));
    let is_given = !matches!(&digits[..3], "000" | "666") && !digits.starts_with('9') && &digits[3..5] != "00" && &digits[5..] != "0000";
    (is_separated && is_given && !is_joined(bytes, start, end, b"-. ")).then_some((end, digits))
}

fn iban(bytes: &[u8], start: usize) -> Option<Found> {
    let length = iban::length(&bytes[start..])?;
    let (mut at, mut value) = (start, String::new());
    while value.len() < length {
        match bytes.get(at)? {
            b if b.is_ascii_alphanumeric() => {
                value.push(char::from(b.to_ascii_uppercase()));
                at += 1;
            }
            _ => {
                at += separator(&bytes[at..])?;
                // One separator at a time.
                bytes.get(at).filter(|b| b.is_ascii_alphanumeric())?;
            }
        }
    }
    (!is_word(bytes, Some(at)) && iban::is_checked(&value)).then_some((at, value))
}

fn phone(bytes: &[u8], start: usize) -> Option<Found> {
    if bytes[start] == b'+' {
        return international(bytes, start);
    }
    if bytes[start..].starts_with(b"1") {
        return national(bytes, start, start + 1 + separator(&bytes[start + 1..])?);
    }
    national(bytes, start, start)
}

/// `(415) 555-2671` or `415-555-2671`: the ranges that North America gives out, and only with separators.
fn national(bytes: &[u8], start: usize, from: usize) -> Option<Found> {
    let (end, digits) = if bytes.get(from) == Some(&b'(') {
        let (after, area) = grouped(bytes, from + 1, &[3])?;
        let at = after + 1 + usize::from(bytes.get(after + 1) == Some(&b' '));
        let (end, rest) = grouped(bytes, at, &[3, 4]).filter(|_| bytes[after] == b')')?;
        (end, area + &rest)
    } else {
        grouped(bytes, from, &[3, 3, 4])?
    };
    let is_given = |at: usize| digits.as_bytes()[at] >= b'2' && &digits[at + 1..at + 3] != "11";
    (is_given(0) && is_given(3) && !is_joined(bytes, start, end, b"-.")).then(|| (end, format!("+1{digits}")))
}

/// `+` and 8 to 15 digits (E.164), with at most two separators or brackets between them.
fn international(bytes: &[u8], start: usize) -> Option<Found> {
    let most = if bytes.get(start + 1) == Some(&b'1') { 11 } else { 15 };
    // A zone of time or a sum, not a number.
    if is_word(bytes, start.checked_sub(1)) || !matches!(bytes.get(start + 1), Some(b'1'..=b'9')) {
        return None;
    }
    let (mut at, mut digits, mut groups) = (start + 1, String::new(), Vec::new());
    loop {
        let group = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits.len() + group > most {
            break;
        }
        digits.extend(bytes[at..at + group].iter().map(|b| char::from(*b)));
        at += group;
        groups.push((at, digits.len()));
        let between = bytes[at..].iter().take(3).take_while(|b| matches!(b, b' ' | b'-' | b'.' | b'(' | b')')).count();
        if !(1..=2).contains(&between) || !is_digit(bytes, Some(at + between)) {
            break;
        }
        at += between;
    }
    let (end, count) = *groups.last()?;
    (count >= 8 && !is_word(bytes, Some(end))).then(|| (end, format!("+{}", &digits[..count])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::Privacy;
    use crate::spots::Spots;

    fn found(kind: Kind, text: &str) -> Vec<String> {
        let values = std::cell::RefCell::new(Vec::new());
        let take = |_: Kind, value: &str| {
            values.borrow_mut().push(value.to_owned());
            "#".to_owned()
        };
        let changed = matches!(replaced(&[kind], text, &take), Cow::Owned(_));
        let values = values.into_inner();
        assert_eq!(changed, !values.is_empty(), "{text}");
        let policy = Privacy::default().with_kinds(&[kind.name().into()]).unwrap();
        assert!(values.is_empty() || Spots::of(text.as_bytes(), &policy).suspicion(text).is_personal, "{text} is held for plain");
        values
    }

    #[test]
    fn a_number_is_written_one_way_however_it_came() {
        let cases: &[(Kind, &str, &[&str])] = &[
            (
                Kind::Card,
                "4111",
                &["4111111111111111", "4111 1111 1111 1111", "card:4111-1111-1111-1111.", "4111\u{a0}1111\u{a0}1111\u{a0}1111"],
            ),
            (Kind::Card, "3782", &["378282246310005", "3782 822463 10005", "x=3782-822463-10005&y"]),
            (Kind::Card, "3056", &["30569309025904", "3056 930902 5904"]),
            (Kind::Card, "2223", &["2223003122003222", "pan_2223003122003222"]),
            (Kind::Card, "6205", &["6205500000000000004"]),
            (Kind::Iban, "DE89", &["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "de89-3704-0044-0532-0130-00 and more"]),
            (Kind::Iban, "NO93", &["NO9386011117947"]),
            (Kind::Iban, "MT84", &["MT84MALT011000012345MTLCAST001S."]),
            (Kind::Ssn, "5198", &["519-84-1234", "ssn 519 84 1234", "ssn:519-84-1234."]),
            (Kind::Mail, "ann.", &["Ann.Roe@Example.com", "mailto:ann.roe@example.com?x", "<ANN.ROE@example.com>"]),
            (
                Kind::Phone,
                "+141",
                &["+14155552671", "+1 (415) 555-2671", "(415) 555-2671", "415-555-2671", "1-415-555-2671", "415.555.2671"],
            ),
            (Kind::Phone, "+493", &["+49 30 901820", "+4930901820", "tel:+49-30-901820"]),
        ];
        for (kind, start, texts) in cases {
            let all: Vec<String> = texts.iter().flat_map(|text| found(*kind, text)).collect();
            assert!(all.len() == texts.len() && all.iter().all(|v| v == &all[0] && v.starts_with(start)), "{kind:?}: {all:?}");
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        let cases: &[(Kind, &[&str])] = &[
            (
                Kind::Card,
                &[
                    "4111111111111112",
                    "1764000000000000",
                    "0.4111111111111111",
                    "a4111111111111111",
                    "41111111111111110",
                    "41111111111111111111",
                    "4111 1111-1111 1111",
                    "9f4c2a1e-4111-4111-8111-411111111111",
                ],
            ),
            (Kind::Iban, &["DE88370400440532013000", "XX89370400440532013000", "DE8937040044053201300", "DE893704004405320130001"]),
            (
                Kind::Ssn,
                &[
                    "000-12-3456",
                    "666-12-3456",
                    "912-12-3456",
                    "123-00-4567",
                    "123-45-0000",
                    "123456789",
                    "2026-123-45-6789",
                    "123.45.6789",
                ],
            ),
            (Kind::Mail, &["@scope/pkg@1.2.3", "a@b", "user @ example.com"]),
            (
                Kind::Phone,
                &["2026-11-24", "1.415-555", "+05:30", "4155552671", "911-555-2671", "115-555-2671", "1-415-555-2671-9", "a+4930901820"],
            ),
        ];
        for (kind, texts) in cases {
            for text in *texts {
                assert_eq!(found(*kind, text), Vec::<String>::new(), "{kind:?} {text}");
            }
        }
    }

    #[test]
    fn whatever_stands_there_nothing_breaks() {
        let kinds = [Kind::Card, Kind::Iban, Kind::Ssn, Kind::Mail, Kind::Phone];
        let policy = Privacy::default().with_kinds(&kinds.map(|kind| kind.name().into())).unwrap();
        for text in [
            "",
            "+",
            "(",
            "1",
            "+1",
            "(415",
            "(415)",
            "415-",
            "DE89",
            "DE89 ",
            "4111 ",
            "é+1é",
            "1\u{a0}",
            "\u{a0}",
            "((((((((((((",
            "+1 2 3 4 5 6 7 8",
        ] {
            Spots::of(text.as_bytes(), &policy);
            replaced(&kinds, text, &|_, _| String::new());
        }
    }
}
