//! Rate limits: so many checks a minute, or none.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::model::{Error, Result};

/// How many checks a credential may have counted in a window of 60 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// At most so many a minute.
    PerMinute(u32),
    /// As many as come.
    Unlimited,
}

impl RateLimit {
    /// The documented limit of general keys, of a user's tokens together, and of an app.
    pub const REST: Self = Self::PerMinute(960);
    /// The documented limit of an integration key.
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
    fn a_rate_limit_is_read_as_it_is_written() {
        for text in ["1/min", "100/min", "none"] {
            assert_eq!(text.parse::<RateLimit>().unwrap().to_string(), text);
        }
        for text in ["", "0/min", "-1/min", "+5/min", "100", "100/h", "99999999999/min", "None"] {
            assert!(text.parse::<RateLimit>().is_err(), "{text:?}");
        }
    }
}
