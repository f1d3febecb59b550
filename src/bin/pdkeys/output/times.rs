//! Formats times: relative on a terminal, exact elsewhere.

use jiff::Timestamp;
use serde::Serializer;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Up to this length, times are shown in days: an expiry is often given in days.
const HUNDRED_DAYS: i64 = 100 * DAY;
/// A twelfth of a year.
const MONTH: i64 = YEAR / 12;
const YEAR: i64 = 365 * DAY;

/// Returns a time relative to another: `3 days ago`, `in 2 months`.
pub(crate) fn relative(moment: Timestamp, now: Timestamp) -> String {
    let seconds = moment.as_second() - now.as_second();
    // Future times are rounded to the nearest unit: 90 days must not be 89 a second later.
    let rounded = |length: i64, unit: i64| (length + if seconds > 0 { unit / 2 } else { 0 }) / unit;
    let (number, unit) = match seconds.abs() {
        0..MINUTE => return if seconds > 0 { "in a moment".to_owned() } else { "just now".to_owned() },
        length @ MINUTE..HOUR => (rounded(length, MINUTE), "minute"),
        length @ HOUR..DAY => (rounded(length, HOUR), "hour"),
        length @ DAY..HUNDRED_DAYS => (rounded(length, DAY), "day"),
        length @ HUNDRED_DAYS..YEAR => (rounded(length, MONTH), "month"),
        length => (rounded(length, YEAR), "year"),
    };
    let plural = if number == 1 { "" } else { "s" };
    if seconds > 0 { format!("in {number} {unit}{plural}") } else { format!("{number} {unit}{plural} ago") }
}

/// Returns a time in full, to the second.
pub(crate) fn exact(moment: Timestamp) -> String {
    format!("{moment:.0}")
}

/// Serialises a time, or none, with three decimals, so that the text sorts as the time does.
pub(crate) fn serialize<S: Serializer>(
    moment: &(impl Copy + Into<Option<Timestamp>>),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match (*moment).into() {
        Some(moment) => serializer.collect_str(&format_args!("{moment:.3}")),
        None => serializer.serialize_none(),
    }
}

/// Returns the part of a notice that says when something ends.
pub(crate) fn ends(end: Option<Timestamp>) -> String {
    end.map_or_else(String::new, |end| format!("; it ends at {}", exact(end)))
}

/// Returns the part of a notice that says how long the previous secret works.
pub(crate) fn overlap(end: Option<Timestamp>) -> String {
    end.map_or_else(
        || "the one before stopped working".to_owned(),
        |end| format!("the one before works until {}", exact(end)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_its_largest_unit() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (moment, told) in [
            ("2026-03-01T11:59:30Z", "just now"),
            ("2026-03-01T11:59:00Z", "1 minute ago"),
            ("2026-03-01T09:00:00Z", "3 hours ago"),
            ("2026-02-19T12:00:00Z", "10 days ago"),
            ("2026-05-30T11:59:58Z", "in 90 days"),
            ("2025-12-01T12:00:00Z", "90 days ago"),
            ("2026-03-01T12:59:59Z", "in 60 minutes"),
            ("2026-08-30T12:00:00Z", "in 6 months"),
            ("2025-08-15T12:00:00Z", "6 months ago"),
            ("2027-03-02T12:00:00Z", "in 1 year"),
            ("2020-03-01T12:00:00Z", "6 years ago"),
        ] {
            assert_eq!(relative(moment.parse().unwrap(), now), told);
        }
    }
}
