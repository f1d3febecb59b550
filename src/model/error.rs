//! The errors of values: what a value or a change of it breaks, before any store is involved.

use crate::ports::EntropyError;

/// The result of a function of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error returned if a value breaks a rule of the model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text that does not parse, or a value that is not allowed.
    #[error("{what}: {why}")]
    Invalid {
        /// The name of the value, as users know it.
        what: &'static str,
        /// The rule that it breaks.
        why: String,
    },
    /// An edit would widen the access of a key or a token.
    #[error("access can be narrowed, never widened: {0}")]
    WiderAccess(String),
    /// An edit would add scopes to an app.
    #[error("an app's scopes can be narrowed, never widened")]
    WiderApp,
    /// A stored value is not one that this program writes.
    #[error("{0}")]
    Damaged(String),
    /// No random bytes were available.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl Error {
    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { what, why: why.into() }
    }
}
