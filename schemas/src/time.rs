//! Times of any source to microseconds since 1970 in UTC.
//!
//! The format is bound to the source and never guessed value by value: `01/02/2026` is 2 January
//! where the source writes US order, and nothing in the text itself could say so. Text without a
//! zone is read in the zone that the source's contract names, and the result says that it was.
//!
//! Limits: years 1970 to 9999; fractions beyond microseconds are cut, a leap second `:60` counts as
//! `:59` and is kept in the raw text.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::json::Json;

/// How a source writes a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 and its loose relatives: a space for `T`, no zone, an offset without colon.
    Rfc3339,
    /// `MM/DD/YYYY HH:MM:SS`, also `M/D/YYYY h:mm:ss AM +01:00`.
    UsDate,
    /// `DD/MM/YYYY HH:MM:SS`.
    EuropeanDate,
    /// Seconds since 1970, with a fraction or without.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// Microseconds since 1970.
    EpochMicros,
    /// Nanoseconds since 1970.
    EpochNanos,
}

/// A time that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadTime {
    /// Microseconds since 1970, UTC.
    pub micros: i64,
    /// True when the text had no zone and UTC was assumed.
    pub zone_assumed: bool,
}

/// Why a text is no time in this format. It quotes the text only where that looks like a time: a mapping may name the wrong
/// field, and what stands there may be anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} is no {format:?} time")]
pub struct TimeError {
    text: String,
    format: TimeFormat,
}

/// Longest text that is quoted, characters; RFC 2822 has 31 and Java's own format 28.
const MAX_QUOTED_CHARS: usize = 40;

/// Latest time that is read: the end of 9999.
const MAX_MICROS: i64 = 253_402_300_799_999_999;

/// Whether microseconds since 1970 lie within the years that are kept, 1970 to 9999.
pub fn is_kept(micros: i64) -> bool {
    (0..=MAX_MICROS).contains(&micros)
}

/// Reads a time out of a JSON string or number.
///
/// # Errors
/// [`TimeError`] when the value is no time in `format`, or before 1970, or after 9999.
pub fn read(value: &Json<'_>, format: TimeFormat) -> Result<ReadTime, TimeError> {
    match value {
        Json::Text(text) => read_text(text, format),
        Json::Number(text) => read_text(text, format),
        other => Err(fault(&other.compact(), format)),
    }
}

/// Reads a time out of a text.
///
/// # Errors
/// As [`read`].
pub fn read_text(text: &str, format: TimeFormat) -> Result<ReadTime, TimeError> {
    let trimmed = text.trim();
    let found = match format {
        TimeFormat::Rfc3339 => iso(trimmed),
        TimeFormat::UsDate => slashed(trimmed, true).or_else(|| iso(trimmed)),
        TimeFormat::EuropeanDate => slashed(trimmed, false).or_else(|| iso(trimmed)),
        TimeFormat::EpochSeconds => epoch(trimmed, 6),
        TimeFormat::EpochMillis => epoch(trimmed, 3),
        TimeFormat::EpochMicros => epoch(trimmed, 0),
        TimeFormat::EpochNanos => epoch(trimmed, -3),
    };
    found.filter(|t| is_kept(t.micros)).ok_or_else(|| fault(text, format))
}

fn fault(text: &str, format: TimeFormat) -> TimeError {
    let length = text.chars().count();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let looks_like_time = length <= MAX_QUOTED_CHARS && digits >= letters.max(1);
    let text = if looks_like_time { format!("`{text}`") } else { format!("a text of {length} characters") };
    TimeError { text, format }
}

/// Integer arithmetic on the digits: a double would round nanoseconds.
fn epoch(text: &str, scale: i32) -> Option<ReadTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 20 || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let micros = if scale < 0 {
        whole / 10_i128.pow(scale.unsigned_abs())
    } else {
        let digits: String = fraction.chars().chain("000000".chars()).take(scale as usize).collect();
        let part: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        whole * 10_i128.pow(scale as u32) + part
    };
    Some(ReadTime { micros: i64::try_from(micros).ok()?, zone_assumed: false })
}

fn iso(text: &str) -> Option<ReadTime> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || bytes[4] != b'-' || bytes[7] != b'-' || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(number(text.get(0..4)?)?.try_into().ok()?, number(text.get(5..7)?)?, number(text.get(8..10)?)?)?;
    clock(date, text.get(11..)?)
}

fn slashed(text: &str, month_first: bool) -> Option<ReadTime> {
    let (date, rest) = text.split_once([' ', 'T'])?;
    let mut parts = date.split('/');
    let (a, b, year) = (number(parts.next()?)?, number(parts.next()?)?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let (month, day) = if month_first { (a, b) } else { (b, a) };
    clock(NaiveDate::from_ymd_opt(number(year)?.try_into().ok()?, month, day)?, rest)
}

/// `H:MM[:SS][.fraction] [AM|PM] [Z|±HH[:]MM]`
fn clock(date: NaiveDate, text: &str) -> Option<ReadTime> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(text.len());
    let mut parts = text[..digits_end].split(':');
    let (mut hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let second = parts.next().map_or(Some(0), number)?;
    if parts.next().is_some() {
        return None;
    }
    let mut rest = &text[digits_end..];
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        if end == 0 {
            return None;
        }
        let six: String = fraction[..end].chars().chain("000000".chars()).take(6).collect();
        micros = number(&six)?;
        rest = &fraction[end..];
    }
    rest = rest.trim_start();
    if let Some(half) = rest.get(0..2).map(str::to_ascii_uppercase).filter(|h| h == "AM" || h == "PM") {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if half == "PM" { 12 } else { 0 };
        rest = rest[2..].trim_start();
    }
    // A leap second is the last second of its minute here; the raw text keeps the truth.
    let time = NaiveTime::from_hms_micro_opt(hour, minute, second.min(if second == 60 { 59 } else { second }), micros)?;
    let (offset_minutes, zone_assumed) = zone(rest)?;
    let utc = NaiveDateTime::new(date, time).and_utc().timestamp_micros() - i64::from(offset_minutes) * 60_000_000;
    Some(ReadTime { micros: utc, zone_assumed })
}

fn zone(text: &str) -> Option<(i32, bool)> {
    if text.is_empty() {
        return Some((0, true));
    }
    if matches!(text, "Z" | "z" | "UTC" | "GMT") {
        return Some((0, false));
    }
    let sign = match text.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits)?, 0),
        4 => (number(digits.get(..2)?)?, number(digits.get(2..)?)?),
        _ => return None,
    };
    (hours <= 14 && minutes < 60).then_some((sign * (hours * 60 + minutes) as i32, false))
}

fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Prints microseconds since 1970 as RFC 3339 in UTC with microseconds.
pub fn print(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros).map_or_else(|| micros.to_string(), |t| t.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// The UTC day of a time, in days since 1970.
pub fn day_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(86_400_000_000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, format: TimeFormat, expected: &str) {
        let found = read_text(text, format).map(|t| print(t.micros));
        assert_eq!(found.as_deref(), Ok(expected), "{text}");
    }

    /// Expected values: the public corner cases of Elastic's Azure integration, kept to microseconds.
    #[test]
    fn us_dates_and_their_variants_read_as_azure_means_them() {
        for text in [
            "01/09/2007 09:41:00",
            "1/9/2007 09:41:00",
            "01/09/2007 09:41:00 AM",
            "1/9/2007 9:41:00 AM",
            "1/9/2007 10:41:00 AM +01:00",
            "2007-01-09T09:41:00",
            "2007-01-09T11:41:00+02:00",
        ] {
            check(text, TimeFormat::UsDate, "2007-01-09T09:41:00.000000Z");
        }
        check("2007-01-09T09:41:00.6816663Z", TimeFormat::UsDate, "2007-01-09T09:41:00.681666Z");
        check("11/14/2025 12:48:53 AM", TimeFormat::UsDate, "2025-11-14T00:48:53.000000Z");
        check("14/11/2025 12:48:53", TimeFormat::EuropeanDate, "2025-11-14T12:48:53.000000Z");
    }

    #[test]
    fn impossible_dates_are_refused_not_guessed() {
        for text in ["13/01/2025 10:00:00", "02/30/2025 10:00:00", "1/1/25 10:00:00", "01/01/2025 13:00:00 PM", "redacted", ""] {
            assert!(read_text(text, TimeFormat::UsDate).is_err(), "{text}");
        }
        assert!(read_text("2025-01-01T99:99:999.1Z", TimeFormat::Rfc3339).is_err());
    }

    #[test]
    fn what_does_not_look_like_a_time_is_not_quoted() {
        let said = |text: &str| read_text(text, TimeFormat::Rfc3339).unwrap_err().to_string();
        assert_eq!(said("2026-02-30 10:00:00"), "`2026-02-30 10:00:00` is no Rfc3339 time");
        assert_eq!(said("Mon, 02 Jan 2006 15:04:05 GMT"), "`Mon, 02 Jan 2006 15:04:05 GMT` is no Rfc3339 time");
        for (text, length) in [("Ann Smith", 9), ("12 Main Street", 14), ("", 0), (&"1".repeat(41), 41), ("Ümläut", 6)] {
            assert_eq!(said(text), format!("a text of {length} characters is no Rfc3339 time"));
        }
    }

    #[test]
    fn nanoseconds_beyond_2_to_the_53_are_not_rounded() {
        check("1768432156789123456", TimeFormat::EpochNanos, "2026-01-14T23:09:16.789123Z");
        check("1783308340439.834018", TimeFormat::EpochMillis, "2026-07-06T03:25:40.439834Z");
    }

    #[test]
    fn a_missing_zone_is_said() {
        assert!(read_text("2026-01-01 00:00:00", TimeFormat::Rfc3339).unwrap().zone_assumed);
        assert!(!read_text("2026-01-01T00:00:00Z", TimeFormat::Rfc3339).unwrap().zone_assumed);
        check("2016-12-31T23:59:60Z", TimeFormat::Rfc3339, "2016-12-31T23:59:59.000000Z");
    }
}
