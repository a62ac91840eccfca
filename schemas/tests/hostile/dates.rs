//! Times: impossible, in US order, of a leap second, of 1970, of next year, of the year 9999 and after.

use schemas::adapters::Adapter;
use schemas::time::{TimeFormat, print, read_text};

use crate::{CERBOS_ACCESS, KEYCLOAK, OKTA, OPA, TOOLHIVE, event, row, shown, with};

const BEFORE: &str = "2026-11-20T10:00:00.000Z";

/// Text that no adapter takes for a time: the Kafka timestamp stands in, and a fault says so, which begins like this.
macro_rules! no_time {
    ($($said:literal: { $($name:ident: $text:expr;)* })*) => {
        $($(#[test]
        fn $name() {
            let cases = [
                (Adapter::Okta, with(OKTA, BEFORE, $text), "published"),
                (Adapter::Opa, with(OPA, "2026-11-20T10:00:00.123456789Z", $text), "timestamp"),
                (Adapter::Toolhive, with(TOOLHIVE, "2026-11-20T10:00:00.1Z", $text), "logged_at"),
                (Adapter::Keycloak, with(KEYCLOAK, "1795000000000", &format!("\"{}\"", $text)), "time"),
            ];
            for (adapter, record, field) in cases {
                let row = row(adapter, record);
                event(&row, &["event_time=2026-11-22T23:59:59.000000Z", "event_time_source=kafka", "parse_status=partial", "event_time_raw="]);
                let faults = shown(&row, "parse_errors");
                assert!(faults.contains(&format!("{field}: {}", $said)), "{faults}");
            }
        })*)*
    };
}

no_time! {
    "`": {
        the_thirtieth_of_february_is_no_day: "2026-02-30T10:00:00Z";
        the_twenty_ninth_of_february_is_no_day_in_2026: "2026-02-29T10:00:00Z";
        month_thirteen_is_no_month: "2026-13-01T10:00:00Z";
        month_zero_is_no_month: "2026-00-01T10:00:00Z";
        day_zero_is_no_day: "2026-01-00T10:00:00Z";
        an_hour_of_25_is_no_hour: "2026-01-01T25:61:61Z";
        a_second_of_61_is_no_second: "2026-01-01T10:00:61Z";
        a_bad_value_of_a_real_feed_is_no_time: "2026-01-01T99:99:999.123Z";
        an_offset_of_99_hours_is_none: "2026-01-01T10:00:00+99:00";
        an_offset_that_is_no_ascii_is_none: "2026-01-01T10:00:00+1\u{e9}a";
        digits_of_another_script_are_none: "2026-01-01T1\u{660}:00:00Z";
        a_year_before_1970_is_not_kept: "1969-12-31T23:59:59Z";
        a_year_before_christ_is_not_kept: "-001-01-01T00:00:00Z";
        a_year_of_five_digits_is_not_kept: "10000-01-01T00:00:00Z";
        an_offset_that_leads_past_9999_is_not_kept: "9999-12-31T23:59:59-01:00";
        an_offset_that_leads_before_1970_is_not_kept: "1970-01-01T00:00:00+01:00";
        us_order_is_not_guessed_where_iso_is_agreed: "01/09/2026 09:41:00";
        european_order_is_not_guessed_either: "14.11.2026 09:41:00";
        a_time_without_a_date_is_none: "10:00:00";
        an_endless_fraction_without_digits_is_none: "2026-01-01T10:00:00.Z";
        numbers_beyond_all_bounds_are_no_time: "99999999999999999999999999";
        a_negative_number_is_no_time: "-1";
    }
    // What does not look like a time is not quoted.
    "a text of ": {
        words_are_no_time: "yesterday at ten";
        a_redacted_time_is_none: "redacted";
        a_nul_is_no_time: "\\u0000";
    }
}

/// Text that is a time: what it is read as, of an Okta event.
macro_rules! time {
    ($($name:ident: $text:literal => $wanted:literal, $zone_assumed:literal;)*) => {
        $(#[test]
        fn $name() {
            let row = row(Adapter::Okta, with(OKTA, BEFORE, $text));
            event(&row, &[concat!("event_time=", $wanted), concat!("event_time_raw=", $text), "parse_status=ok"]);
            event(&row, &["event_time_source=payload", concat!("event_time_tz_assumed=", $zone_assumed)]);
        })*
    };
}

time! {
    a_leap_second_is_the_last_second_of_its_minute: "2016-12-31T23:59:60Z" => "2016-12-31T23:59:59.000000Z", "false";
    a_leap_second_keeps_its_fraction: "2016-12-31T23:59:60.5Z" => "2016-12-31T23:59:59.500000Z", "false";
    the_first_instant_of_1970_is_read: "1970-01-01T00:00:00Z" => "1970-01-01T00:00:00.000000Z", "false";
    next_year_is_read_as_it_is_said: "2027-11-23T00:00:00Z" => "2027-11-23T00:00:00.000000Z", "false";
    the_last_second_of_9999_is_read: "9999-12-31T23:59:59Z" => "9999-12-31T23:59:59.000000Z", "false";
    the_twenty_ninth_of_february_2028_is_read: "2028-02-29T00:00:00Z" => "2028-02-29T00:00:00.000000Z", "false";
    no_zone_is_utc_and_said_to_be_assumed: "2026-11-20 10:00:00" => "2026-11-20T10:00:00.000000Z", "true";
    nine_digits_are_cut_to_six: "2026-11-20T10:00:00.123456789Z" => "2026-11-20T10:00:00.123456Z", "false";
    an_offset_without_a_colon_is_read: "2026-11-20T10:00:00+0130" => "2026-11-20T08:30:00.000000Z", "false";
}

#[test]
fn keycloak_milliseconds_at_their_limits_are_read_or_refused() {
    let read = |text: &str| row(Adapter::Keycloak, with(KEYCLOAK, "1795000000000", text));
    event(&read("0"), &["event_time=1970-01-01T00:00:00.000000Z", "parse_status=ok", "is_late=true"]);
    event(&read("253402300799999"), &["event_time=9999-12-31T23:59:59.999000Z", "parse_status=ok"]);
    for text in ["-1", "253402300800000", "9223372036854775807", "1e400", "1e12", "-0", "[1]", "{\"a\":1}", "true"] {
        event(&read(text), &["event_time_source=kafka", "parse_status=partial"]);
    }
}

#[test]
fn a_time_before_the_clock_of_kafka_is_late_by_its_distance() {
    let row = row(Adapter::Okta, with(OKTA, BEFORE, "9999-12-31T23:59:59Z"));
    event(&row, &["is_late=false", "clock_skew_ms=251606908800000"]);
}

#[test]
fn cerbos_takes_the_time_of_a_call_id_only_when_it_is_one() {
    let of = |id: &str| row(Adapter::Cerbos, with(CERBOS_ACCESS, "01KAJ3Z3Q00000000000000000", id));
    event(&of("7ZZZZZZZZZ0000000000000000"), &["event_time=2026-11-20T10:00:00.000000Z"]);
    event(&of("0000000000ILOU000000000000"), &["event_time=1970-01-01T00:00:00.000000Z"]);
    event(
        &of("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"),
        &["event_time=2026-11-20T10:00:00.000000Z"],
    );
}

/// `MM/DD/YYYY HH:MM:SS` and its eleven variants; expected values of Elastic's Azure integration, to microseconds.
#[test]
fn us_dates_and_their_eleven_variants_are_read_where_the_source_writes_them() {
    let same = "2007-01-09T09:41:00.000000Z";
    for (text, wanted) in [
        ("01/09/2007 09:41:00", same),
        ("1/9/2007 09:41:00", same),
        ("01/09/2007 09:41:00 AM", same),
        ("1/9/2007 9:41:00 AM", same),
        ("1/9/2007 10:41:00 AM +01:00", same),
        ("2007-01-09T09:41:00", same),
        ("2007-01-09T11:41:00+02:00", same),
        ("2007-01-09T09:41:00.22Z", "2007-01-09T09:41:00.220000Z"),
        ("2007-01-09T09:41:00.6816663Z", "2007-01-09T09:41:00.681666Z"),
        ("2007-01-09T09:41:00.535404056Z", "2007-01-09T09:41:00.535404Z"),
        ("2007-01-09T09:41:00.992099+00:00", "2007-01-09T09:41:00.992099Z"),
    ] {
        assert_eq!(read_text(text, TimeFormat::UsDate).map(|t| print(t.micros)).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn us_dates_that_cannot_be_are_refused_never_turned_round() {
    for text in [
        "13/01/2026 10:00:00",
        "02/30/2026 10:00:00",
        "00/01/2026 10:00:00",
        "1/1/26 10:00:00",
        "01/01/2026 13:00:00 PM",
        "01/01/2026 00:10:00 AM",
        "01/01/2026 10:00:00 XM",
        "01/01/2026 10:00:00 AM PM",
        "01/01/2026 10:00:00 \u{e9}",
        "01/01/2026",
        "1/1/1/2026 10:00:00",
        "//2026 10:00:00",
        "01/01/2026 ::",
    ] {
        assert!(read_text(text, TimeFormat::UsDate).is_err(), "{text}");
    }
    let midnight = read_text("01/09/2026 12:00:00 AM", TimeFormat::UsDate).map(|t| print(t.micros));
    assert_eq!(midnight.as_deref(), Ok("2026-01-09T00:00:00.000000Z"));
}
