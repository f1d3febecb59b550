//! Rate limits.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::model::{Error, Result};

/// The number of checks that are allowed within a window of 60 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// At most this many checks per minute.
    PerMinute(u32),
    /// No limit.
    Unlimited,
}

impl RateLimit {
    /// The documented limit for a general key, for all tokens of a user, and for all tokens of an app.
    pub const REST: Self = Self::PerMinute(960);
    /// The documented limit for an integration key.
    pub const EVENTS: Self = Self::PerMinute(120);
}

impl FromStr for RateLimit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "none" {
            return Ok(Self::Unlimited);
        }
        text.strip_suffix("/min")
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|number| number.parse().ok())
            .filter(|number| *number > 0)
            .map(Self::PerMinute)
            .ok_or_else(|| Error::invalid("rate limit", "must look like 100/min, or be none"))
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerMinute(number) => write!(f, "{number}/min"),
            Self::Unlimited => f.write_str("none"),
        }
    }
}

impl Serialize for RateLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_parses_from_its_display_form() {
        for text in ["1/min", "100/min", "none"] {
            assert_eq!(text.parse::<RateLimit>().unwrap().to_string(), text);
        }
        for text in ["", "0/min", "-1/min", "+5/min", "100", "100/h", "99999999999/min", "None"] {
            assert!(text.parse::<RateLimit>().is_err(), "{text:?}");
        }
    }
}
