//! Parses times and durations as users write them: `90d`, `2027-01-31`, `2027-01-31T12:00:00Z`, `never`.
//!
//! A date stands for its midnight in UTC, and a time without a zone is in UTC, so the same text means the same on every
//! machine. In every function, `what` names the value in errors.

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::model::{Error, Result};
use crate::ports::whole_milliseconds;

const FORMS: &str = "must be a duration such as 90d or 12h, a date such as 2027-01-31, \
                     or a time such as 2027-01-31T12:00:00Z";

/// Parses an expiry time: a duration from `now`, a date, a time, or `never`. Returns `None` for `never`, and for a date
/// after the latest time that can be represented, because other systems write 9999-12-31 for never.
///
/// # Errors
/// If the text does not parse, or the time is not after `now`.
pub fn parse_expiry(what: &'static str, text: &str, now: Timestamp) -> Result<Option<Timestamp>> {
    if text == "never" {
        return Ok(None);
    }
    let time = match absolute(text) {
        Some(Absolute::At(time)) => time,
        Some(Absolute::AfterLast) => return Ok(None),
        None => {
            let span = span(what, text)?.ok_or_else(|| Error::invalid(what, format!("{FORMS}, or never")))?;
            after(now, span).ok_or_else(|| too_long(what))?
        }
    };
    let time = whole_milliseconds(time);
    if time <= now {
        return Err(Error::invalid(what, format!("{time:.0} is in the past")));
    }
    Ok(Some(time))
}

/// Parses a limit for looking back: a duration before `now`, a date, or a time.
///
/// # Errors
/// If the text does not parse.
pub fn parse_past_time(what: &'static str, text: &str, now: Timestamp) -> Result<Timestamp> {
    match absolute(text) {
        Some(Absolute::At(time)) => Ok(time),
        Some(Absolute::AfterLast) => Ok(Timestamp::MAX),
        None => {
            let span = span(what, text)?.ok_or_else(|| Error::invalid(what, FORMS))?;
            after(now, span.negate()).ok_or_else(|| Error::invalid(what, "is too long ago"))
        }
    }
}

/// Parses a date or a time.
///
/// # Errors
/// If the text does not parse, or is `never` or after the latest time that can be represented.
pub fn parse_time(what: &'static str, text: &str) -> Result<Timestamp> {
    parse_end_time(what, text)?
        .ok_or_else(|| Error::invalid(what, format!("must not be after {}", last_day())))
}

/// Parses the date or the time at which something ends. Returns `None` for `never`, and for a date after the latest time
/// that can be represented.
///
/// # Errors
/// If the text does not parse.
pub fn parse_end_time(what: &'static str, text: &str) -> Result<Option<Timestamp>> {
    match absolute(text) {
        Some(Absolute::At(time)) => Ok(Some(whole_milliseconds(time))),
        Some(Absolute::AfterLast) => Ok(None),
        None if text == "never" => Ok(None),
        None => Err(Error::invalid(
            what,
            "must be a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z",
        )),
    }
}

/// Parses a duration, such as `24h` or `90d`. `now` gives calendar units their length.
///
/// # Errors
/// If the text does not parse, or the duration is not positive.
pub fn parse_duration(what: &'static str, text: &str, now: Timestamp) -> Result<SignedDuration> {
    let refused = || Error::invalid(what, "must be a duration such as 90d or 24h");
    let span = span(what, text)?.ok_or_else(refused)?;
    let end = after(now, span).ok_or_else(|| too_long(what))?;
    Some(whole_milliseconds(end).duration_since(now)).filter(SignedDuration::is_positive).ok_or_else(refused)
}

/// A date or a time, as opposed to a duration.
enum Absolute {
    At(Timestamp),
    /// A date after the latest time that can be represented.
    AfterLast,
}

fn absolute(text: &str) -> Option<Absolute> {
    text.parse::<Timestamp>().ok().or_else(|| civil(text)).map(Absolute::At).or_else(|| {
        let date = Pieces::parse(text).ok()?.date();
        (date >= last_day()).then_some(Absolute::AfterLast)
    })
}

fn civil(text: &str) -> Option<Timestamp> {
    // Parsing a civil time accepts an offset or a zone name, and ignores it.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"-:T. ".contains(&byte)) {
        return None;
    }
    let civil = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(Date::into));
    Some(civil?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn last_day() -> Date {
    Timestamp::MAX.to_zoned(TimeZone::UTC).date()
}

/// Parses a duration. Returns `None` if the text is not one.
///
/// # Errors
/// If the text is ambiguous, or the duration is too long to represent.
fn span(what: &'static str, text: &str) -> Result<Option<Span>> {
    let is_iso = text.trim_start_matches(['+', '-']).starts_with(['P', 'p']);
    if !is_iso && text.split(|c: char| !c.is_alphabetic()).any(|unit| unit.eq_ignore_ascii_case("m")) {
        return Err(Error::invalid(what, "m is ambiguous: use min for minutes or mo for months"));
    }
    match text.parse() {
        Ok(span) => Ok(Some(span)),
        Err(_) if is_span_of_some_length(text) => Err(too_long(what)),
        Err(_) => Ok(None),
    }
}

/// Returns true if the text would parse as a duration if its numbers were small.
fn is_span_of_some_length(text: &str) -> bool {
    let mut small = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '0'..='9' if small.ends_with('1') => {}
            '0'..='9' => small.push('1'),
            other => small.push(other),
        }
    }
    small.parse::<Span>().is_ok()
}

fn too_long(what: &'static str) -> Error {
    Error::invalid(what, format!("is too long: the latest date is {}", last_day()))
}

fn after(now: Timestamp, span: Span) -> Option<Timestamp> {
    Some(now.to_zoned(TimeZone::UTC).checked_add(span).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_expiry_is_a_duration_a_date_a_time_or_never() {
        for (text, end) in [
            ("90d", Some("2026-05-30T12:00:00Z")),
            ("12h", Some("2026-03-02T00:00:00Z")),
            ("1y", Some("2027-03-01T12:00:00Z")),
            ("2027-01-31", Some("2027-01-31T00:00:00Z")),
            ("2027-01-31T12:00:00+02:00", Some("2027-01-31T10:00:00Z")),
            ("2027-01-31T12:00", Some("2027-01-31T12:00:00Z")),
            ("never", None),
        ] {
            let end = end.map(|end| end.parse().unwrap());
            assert_eq!(parse_expiry("expiry", text, now()).unwrap(), end, "{text}");
        }
    }

    #[test]
    fn an_expiry_in_the_past_or_malformed_is_refused() {
        for text in
            ["", "0d", "-1d", "2026-03-01", "2020-01-01T00:00:00Z", "tomorrow", "90", "2027-02-30", "99999y"]
        {
            assert!(parse_expiry("expiry", text, now()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_date_after_the_latest_time_is_never() {
        for text in [
            "9999-12-31",
            "9999-12-31T23:59:59",
            "9999-12-31 23:59:59",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999Z",
            "9999-12-31T00:00:00+00:00",
            "9999-12-30T23:00:00",
            "never",
        ] {
            assert_eq!(parse_expiry("expiry", text, now()).unwrap(), None, "{text}");
            assert_eq!(parse_end_time("expiry", text).unwrap(), None, "{text}");
            assert!(parse_time("created", text).is_err(), "{text}");
        }
        let last = "9999-12-30".parse::<Date>().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp();
        assert_eq!(parse_expiry("expiry", "9999-12-30", now()).unwrap(), Some(last));
        assert_eq!(parse_past_time("until", "9999-12-31", now()).unwrap(), Timestamp::MAX);
        for text in ["9999-13-01", "10000-01-01", "9999-12-32", "9999-12-31x", "99991231T"] {
            assert!(parse_expiry("expiry", text, now()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_beyond_the_latest_time_is_too_long() {
        for text in ["9000y", "99999y", "999999999d", "99999999999999999999s", "P9000Y"] {
            for error in [
                parse_expiry("expiry", text, now()).unwrap_err(),
                parse_duration("overlap", text, now()).unwrap_err(),
            ] {
                let message = error.to_string();
                assert!(message.ends_with("is too long: the latest date is 9999-12-30"), "{message}");
            }
        }
        for text in ["20000y", "soon", "90", "y"] {
            let message = parse_past_time("since", text, now()).unwrap_err().to_string();
            assert_eq!(message.contains("too long"), text == "20000y", "{message}");
        }
    }

    #[test]
    fn an_ambiguous_m_is_refused() {
        for text in ["6m", "6 m", "1h30m", "30M", "1y 6m", "-6m"] {
            for error in [
                parse_expiry("expiry", text, now()).unwrap_err(),
                parse_past_time("since", text, now()).unwrap_err(),
                parse_duration("overlap", text, now()).unwrap_err(),
            ] {
                let message = error.to_string();
                assert!(
                    message.ends_with("m is ambiguous: use min for minutes or mo for months"),
                    "{message}"
                );
            }
        }
        for (text, end) in [
            ("6min", "2026-03-01T12:06:00Z"),
            ("6mo", "2026-09-01T12:00:00Z"),
            ("6months", "2026-09-01T12:00:00Z"),
            ("6 minutes", "2026-03-01T12:06:00Z"),
            ("P6M", "2026-09-01T12:00:00Z"),
            ("PT6M", "2026-03-01T12:06:00Z"),
            ("60ms", "2026-03-01T12:00:00.06Z"),
        ] {
            assert_eq!(parse_expiry("expiry", text, now()).unwrap(), end.parse().ok(), "{text}");
        }
    }

    #[test]
    fn a_duration_in_the_past_counts_from_now() {
        assert_eq!(parse_past_time("since", "7d", now()).unwrap(), "2026-02-22T12:00:00Z".parse().unwrap());
        assert!(parse_past_time("since", "yesterday", now()).is_err());
    }

    #[test]
    fn a_duration_must_be_positive() {
        assert_eq!(parse_duration("overlap", "24h", now()).unwrap(), SignedDuration::from_hours(24));
        for text in ["0s", "-1h", "2027-01-01", "soon", ""] {
            assert!(parse_duration("overlap", text, now()).is_err(), "{text:?}");
        }
    }
}
