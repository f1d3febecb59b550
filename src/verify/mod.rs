//! What a presented credential may do: present, find, judge, count, answer.
//!
//! Everything that checks keys, be it the command line, a pipe, a server or another program, calls
//! [`Verifier::verify`], and gets a [`Verdict`]: a "no" is a result here, not an error. What cannot be found out is
//! an error, and never an "allowed".

mod check;
mod events;
mod explain;
mod folded;
mod limit;
mod operations;
mod path;
mod policy;
mod request;
mod verdict;
mod verifier;

pub use check::{Batch, Count, Prepared, apply_rate_limit, conclude, prepare};
pub use events::{EventKeys, EventRequest, ROUTING_KEY_HEADER};
pub use explain::{Explanation, explain};
pub use operations::{Operation, known_scope, operations};
pub use path::Path;
pub use policy::{Judgement, judge};
pub use request::{Api, BearerTakes, Presented, Request};
pub use verdict::{RateState, Reason, Verdict};
pub use verifier::{UsageRecording, Verifier};
