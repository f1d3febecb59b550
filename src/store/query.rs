//! Queries as data: filters, order, limits and pages.

use jiff::Timestamp;

use crate::model::{AuditAction, Id, KeyFilter, KeyOrder, Noun};

/// The part of a query's rows to return; by default all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// The maximum number of rows.
    pub limit: Option<u64>,
    /// The id of the last row of the previous page: only rows after it, in the order of the query, are returned. If
    /// that row no longer exists, the page is empty.
    pub after: Option<Id>,
}

/// Selects general keys.
#[derive(Clone, Debug)]
pub struct KeyQuery {
    /// The conditions that a key must match.
    pub filter: KeyFilter,
    /// The time at which it must match them.
    pub at: Timestamp,
    /// The order of the keys.
    pub order: KeyOrder,
    /// Whether to reverse the order.
    pub reverse: bool,
    /// The part of the keys to return.
    pub page: Page,
}

impl KeyQuery {
    /// Returns a query for every key, oldest first.
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

/// Selects users; by default all, including those who have left.
#[derive(Clone, Debug, Default)]
pub struct UserQuery {
    /// Whether to select only users who have not left.
    pub present: bool,
    /// The part of the users to return.
    pub page: Page,
}

/// Selects user tokens; by default all.
#[derive(Clone, Debug, Default)]
pub struct TokenQuery {
    /// The user that the tokens belong to.
    pub user: Option<Id>,
    /// The part of the tokens to return.
    pub page: Page,
}

/// Selects services or orchestrations.
#[derive(Clone, Debug)]
pub struct DestinationQuery {
    /// [`Noun::Service`] or [`Noun::Orchestration`].
    pub noun: Noun,
    /// The part of them to return.
    pub page: Page,
}

impl DestinationQuery {
    /// Returns a query for every service or every orchestration.
    #[must_use]
    pub const fn all(noun: Noun) -> Self {
        Self { noun, page: Page { limit: None, after: None } }
    }
}

/// Selects integrations; by default all.
#[derive(Clone, Debug, Default)]
pub struct IntegrationQuery {
    /// The service or orchestration that the integrations belong to.
    pub destination: Option<Id>,
    /// The part of the integrations to return.
    pub page: Page,
}

/// Selects apps; by default all.
#[derive(Clone, Debug, Default)]
pub struct AppQuery {
    /// The part of the apps to return.
    pub page: Page,
}

/// Selects hourly usage counts.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// The credential that the counts belong to.
    pub of: Option<Id>,
    /// The earliest start of an hour, inclusive.
    pub since: Timestamp,
}

/// Selects audit records; by default all. A record must match every condition that is given.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// The earliest execution time, inclusive.
    pub since: Option<Timestamp>,
    /// The latest execution time, exclusive.
    pub until: Option<Timestamp>,
    /// The id of an actor: the user on whose behalf the action was done, or the Account Owner who acted as that user.
    pub actor: Option<String>,
    /// The action.
    pub action: Option<AuditAction>,
    /// The id of the target.
    pub target: Option<String>,
    /// The resource type of the target.
    pub target_type: Option<String>,
    /// The maximum number of records.
    pub limit: Option<u64>,
    /// An exclusive upper bound of record numbers: the number of the last record of the previous page.
    pub before: Option<u64>,
}
