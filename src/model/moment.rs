//! Moments as people write them: `90d`, `2027-01-31`, `2027-01-31T12:00:00Z`, `never`.
//!
//! Everything is in UTC: a date begins at its midnight there, and a time without a zone is one of UTC, so that the
//! same words mean the same on every machine.

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::model::{Error, Result};
use crate::ports::whole_milliseconds;

const FORMS: &str = "must be a length of time such as 90d or 12h, a date such as 2027-01-31, \
                     or a time such as 2027-01-31T12:00:00Z";

/// Reads when something is to end: a length of time from `now`, a date, a time, or `never`. A date behind the last
/// moment that can be told is `never` too: other systems have 9999-12-31 for it.
///
/// # Errors
/// If it cannot be read, or is not after `now`.
pub fn future_moment(what: &'static str, text: &str, now: Timestamp) -> Result<Option<Timestamp>> {
    if text == "never" {
        return Ok(None);
    }
    let moment = match absolute(text) {
        Some(Absolute::At(moment)) => moment,
        Some(Absolute::BehindLast) => return Ok(None),
        None => {
            let span = span(what, text)?.ok_or_else(|| Error::invalid(what, format!("{FORMS}, or never")))?;
            after(now, span).ok_or_else(|| too_long(what))?
        }
    };
    let moment = whole_milliseconds(moment);
    if moment <= now {
        return Err(Error::invalid(what, format!("{moment:.0} is in the past")));
    }
    Ok(Some(moment))
}

/// Reads since or until when to look back: a length of time before `now`, a date, or a time.
///
/// # Errors
/// If it cannot be read.
pub fn past_moment(what: &'static str, text: &str, now: Timestamp) -> Result<Timestamp> {
    match absolute(text) {
        Some(Absolute::At(moment)) => Ok(moment),
        Some(Absolute::BehindLast) => Ok(Timestamp::MAX),
        None => {
            let span = span(what, text)?.ok_or_else(|| Error::invalid(what, FORMS))?;
            after(now, span.negate()).ok_or_else(|| Error::invalid(what, "is longer ago than can be told"))
        }
    }
}

/// Reads a date or a time.
///
/// # Errors
/// If it cannot be read.
pub fn moment(what: &'static str, text: &str) -> Result<Timestamp> {
    end(what, text)?.ok_or_else(|| Error::invalid(what, "is behind the last moment that can be told"))
}

/// Reads a date or a time at which something ends; `None` for `never`, and for a date behind the last moment.
///
/// # Errors
/// If it cannot be read.
pub fn end(what: &'static str, text: &str) -> Result<Option<Timestamp>> {
    match absolute(text) {
        Some(Absolute::At(moment)) => Ok(Some(whole_milliseconds(moment))),
        Some(Absolute::BehindLast) => Ok(None),
        None if text == "never" => Ok(None),
        None => Err(Error::invalid(
            what,
            "must be a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z",
        )),
    }
}

/// Reads a length of time, such as `24h` or `90d`.
///
/// # Errors
/// If it cannot be read, or is not longer than nothing.
pub fn length_of_time(what: &'static str, text: &str, now: Timestamp) -> Result<SignedDuration> {
    let refused = || Error::invalid(what, "must be a length of time such as 90d or 24h");
    let span = span(what, text)?.ok_or_else(refused)?;
    let end = after(now, span).ok_or_else(|| too_long(what))?;
    Some(whole_milliseconds(end).duration_since(now)).filter(SignedDuration::is_positive).ok_or_else(refused)
}

/// A date or a time as it was written.
enum Absolute {
    At(Timestamp),
    /// It is a date, and behind the last moment that can be told.
    BehindLast,
}

fn absolute(text: &str) -> Option<Absolute> {
    text.parse::<Timestamp>().ok().or_else(|| civil(text)).map(Absolute::At).or_else(|| {
        let date = Pieces::parse(text).ok()?.date();
        (date >= last_day()).then_some(Absolute::BehindLast)
    })
}

fn civil(text: &str) -> Option<Timestamp> {
    // A civil time with an offset or a zone name would parse too, with the zone thrown away.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"-:T. ".contains(&byte)) {
        return None;
    }
    let civil = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(Date::into));
    Some(civil?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn last_day() -> Date {
    Timestamp::MAX.to_zoned(TimeZone::UTC).date()
}

/// A length of time; `None` if it is none.
///
/// # Errors
/// If it may be read as two, or is longer than any that can be told.
fn span(what: &'static str, text: &str) -> Result<Option<Span>> {
    let is_iso = text.trim_start_matches(['+', '-']).starts_with(['P', 'p']);
    if !is_iso && text.split(|c: char| !c.is_alphabetic()).any(|unit| unit.eq_ignore_ascii_case("m")) {
        return Err(Error::invalid(what, "m may be minutes or months: say min or mo"));
    }
    match text.parse() {
        Ok(span) => Ok(Some(span)),
        Err(_) if is_span_of_some_length(text) => Err(too_long(what)),
        Err(_) => Ok(None),
    }
}

/// Whether a text would be a length of time if its numbers were small.
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
    Error::invalid(what, format!("is longer than can be told: the last day is {}", last_day()))
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
    fn an_end_is_a_length_of_time_a_date_a_time_or_never() {
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
            assert_eq!(future_moment("expiry", text, now()).unwrap(), end, "{text}");
        }
    }

    #[test]
    fn an_end_in_the_past_or_in_no_known_form_is_refused() {
        for text in
            ["", "0d", "-1d", "2026-03-01", "2020-01-01T00:00:00Z", "tomorrow", "90", "2027-02-30", "99999y"]
        {
            assert!(future_moment("expiry", text, now()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_date_behind_the_last_moment_is_never() {
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
            assert_eq!(future_moment("expiry", text, now()).unwrap(), None, "{text}");
            assert_eq!(end("expiry", text).unwrap(), None, "{text}");
            assert!(moment("created", text).is_err(), "{text}");
        }
        let last = "9999-12-30".parse::<Date>().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp();
        assert_eq!(future_moment("expiry", "9999-12-30", now()).unwrap(), Some(last));
        assert_eq!(past_moment("until", "9999-12-31", now()).unwrap(), Timestamp::MAX);
        for text in ["9999-13-01", "10000-01-01", "9999-12-32", "9999-12-31x", "99991231T"] {
            assert!(future_moment("expiry", text, now()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_length_that_runs_past_the_last_moment_says_so() {
        for text in ["9000y", "99999y", "999999999d", "99999999999999999999s", "P9000Y"] {
            for error in [
                future_moment("expiry", text, now()).unwrap_err(),
                length_of_time("overlap", text, now()).unwrap_err(),
            ] {
                let message = error.to_string();
                assert!(
                    message.ends_with("is longer than can be told: the last day is 9999-12-30"),
                    "{message}"
                );
            }
        }
        for text in ["20000y", "soon", "90", "y"] {
            let message = past_moment("since", text, now()).unwrap_err().to_string();
            assert_eq!(message.contains("can be told"), text == "20000y", "{message}");
        }
    }

    #[test]
    fn minutes_and_months_are_told_apart() {
        for text in ["6m", "6 m", "1h30m", "30M", "1y 6m", "-6m"] {
            for error in [
                future_moment("expiry", text, now()).unwrap_err(),
                past_moment("since", text, now()).unwrap_err(),
                length_of_time("overlap", text, now()).unwrap_err(),
            ] {
                let message = error.to_string();
                assert!(message.ends_with("m may be minutes or months: say min or mo"), "{message}");
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
            assert_eq!(future_moment("expiry", text, now()).unwrap(), end.parse().ok(), "{text}");
        }
    }

    #[test]
    fn looking_back_counts_from_now() {
        assert_eq!(past_moment("since", "7d", now()).unwrap(), "2026-02-22T12:00:00Z".parse().unwrap());
        assert!(past_moment("since", "yesterday", now()).is_err());
    }

    #[test]
    fn a_length_of_time_is_longer_than_nothing() {
        assert_eq!(length_of_time("overlap", "24h", now()).unwrap(), SignedDuration::from_hours(24));
        for text in ["0s", "-1h", "2027-01-01", "soon", ""] {
            assert!(length_of_time("overlap", text, now()).is_err(), "{text:?}");
        }
    }
}
