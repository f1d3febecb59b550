//! Checks whether a presented credential may make a request.
//!
//! A check prepares a lookup from the shape of the credential, looks up its digest in the store, judges the request and
//! counts it. [`Verifier::verify`] does all of this; the command line, the server and other programs call it. The
//! functions without I/O are public too: [`prepare`], [`conclude`] and [`apply_rate_limit`].
//!
//! The result is a [`Verdict`]. A denied request is a verdict, not an error; an error means that the answer could not be
//! found out, and must never be treated as allowed.

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
