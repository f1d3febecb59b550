//! Queries as data: which rows to read, in which order, and how many.

use jiff::Timestamp;

use crate::model::{AuditAction, Id, KeyFilter, KeyOrder, Noun};

/// Which part of the rows that a query selects; by default all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// At most this many.
    pub limit: Option<u64>,
    /// Those after the row with this id, in the order of the query: the last row of the page before. If there is no such
    /// row any more, none.
    pub after: Option<Id>,
}

/// Which general keys to read.
#[derive(Clone, Debug)]
pub struct KeyQuery {
    /// Those that match.
    pub filter: KeyFilter,
    /// The moment at which they must match.
    pub at: Timestamp,
    /// Their order.
    pub order: KeyOrder,
    /// The reverse of that order.
    pub reverse: bool,
    /// Which part of them.
    pub page: Page,
}

impl KeyQuery {
    /// Selects every key, oldest first.
    #[must_use]
    pub fn all(at: Timestamp) -> Self {
        Self {
            filter: KeyFilter::default(),
            at,
            order: KeyOrder::default(),
            reverse: false,
            page: Page::default(),
        }
    }
}

/// Which users to read; by default all, including those who have left.
#[derive(Clone, Debug, Default)]
pub struct UserQuery {
    /// Only those who have not left.
    pub present: bool,
    /// Which part of them.
    pub page: Page,
}

/// Which user tokens to read; by default all.
#[derive(Clone, Debug, Default)]
pub struct TokenQuery {
    /// Those of one user.
    pub user: Option<Id>,
    /// Which part of them.
    pub page: Page,
}

/// Which services or orchestrations to read.
#[derive(Clone, Debug)]
pub struct DestinationQuery {
    /// [`Noun::Service`] or [`Noun::Orchestration`].
    pub noun: Noun,
    /// Which part of them.
    pub page: Page,
}

impl DestinationQuery {
    /// Selects every service, or every orchestration.
    #[must_use]
    pub const fn all(noun: Noun) -> Self {
        Self { noun, page: Page { limit: None, after: None } }
    }
}

/// Which integrations to read; by default all.
#[derive(Clone, Debug, Default)]
pub struct IntegrationQuery {
    /// Those of one service or orchestration.
    pub destination: Option<Id>,
    /// Which part of them.
    pub page: Page,
}

/// Which apps to read; by default all.
#[derive(Clone, Debug, Default)]
pub struct AppQuery {
    /// Which part of them.
    pub page: Page,
}

/// Which hourly counts to read.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// Those of one credential.
    pub of: Option<Id>,
    /// Those of hours that began at this moment or after it.
    pub since: Timestamp,
}

/// Which audit records to read; by default all. Every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Those at a moment or after it.
    pub since: Option<Timestamp>,
    /// Those before a moment.
    pub until: Option<Timestamp>,
    /// Those of an actor, by id: the user on whose behalf it was done, and the Account Owner who acted as that user.
    pub actor: Option<String>,
    /// Those of an action.
    pub action: Option<AuditAction>,
    /// Those about a thing, by id.
    pub target: Option<String>,
    /// Those about things of a type.
    pub target_type: Option<String>,
    /// At most this many.
    pub limit: Option<u64>,
    /// Those before this number: the last record of the page before.
    pub before: Option<u64>,
}
