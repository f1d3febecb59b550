//! Moments as people write them: `90d`, `2027-01-31`, `2027-01-31T12:00:00Z`, `never`.
//!
//! Everything is in UTC: a date begins at its midnight there, and a time without a zone is one of UTC, so that the
//! same words mean the same on every machine.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::error::{Error, Result};
use crate::ports::whole_milliseconds;

const FORMS: &str = "must be a length of time such as 90d or 12h, a date such as 2027-01-31, \
                     or a time such as 2027-01-31T12:00:00Z";

/// Reads when something is to end: a length of time from `now`, a date, a time, or `never`.
///
/// # Errors
/// If it cannot be read, or is not after `now`.
pub fn future_moment(what: &'static str, text: &str, now: Timestamp) -> Result<Option<Timestamp>> {
    if text == "never" {
        return Ok(None);
    }
    let moment = absolute(text)
        .or_else(|| span(text).and_then(|span| after(now, span)))
        .map(whole_milliseconds)
        .ok_or_else(|| Error::invalid(what, format!("{FORMS}, or never")))?;
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
    absolute(text)
        .or_else(|| span(text).and_then(|span| after(now, span.negate())))
        .ok_or_else(|| Error::invalid(what, FORMS))
}

/// Reads a date or a time.
///
/// # Errors
/// If it cannot be read.
pub fn moment(what: &'static str, text: &str) -> Result<Timestamp> {
    absolute(text).map(whole_milliseconds).ok_or_else(|| {
        Error::invalid(what, "must be a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z")
    })
}

/// Reads a length of time, such as `24h` or `90d`.
///
/// # Errors
/// If it cannot be read, or is not longer than nothing.
pub fn length_of_time(what: &'static str, text: &str, now: Timestamp) -> Result<SignedDuration> {
    span(text)
        .and_then(|span| after(now, span))
        .map(|end| whole_milliseconds(end).duration_since(now))
        .filter(SignedDuration::is_positive)
        .ok_or_else(|| Error::invalid(what, "must be a length of time such as 90d or 24h"))
}

fn absolute(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        // A civil time with an offset or a zone name would parse too, with the zone thrown away.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || b"-:T. ".contains(&byte)) {
            return None;
        }
        let civil = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(Date::into));
        Some(civil?.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

fn span(text: &str) -> Option<Span> {
    text.parse().ok()
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
