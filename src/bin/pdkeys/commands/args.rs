//! Arguments, and values of arguments, that several commands take.

use clap::Args;
use jiff::Timestamp;
use pdkeys::manage::Session;
use pdkeys::model::{Label, Policy, RateLimit, ScopeSet, parse_expiry};
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::known_scope;

use crate::failure::Failure;
use crate::session::Context;

/// The reason for a change, which goes into its audit record.
#[derive(Args, Debug)]
pub(super) struct Reason {
    /// Why; `key-compromise` is the one that other tools read
    #[arg(long)]
    reason: Option<String>,
}

impl Reason {
    pub(super) fn parse(&self) -> Result<Option<Label>, Failure> {
        Ok(self.reason.as_deref().map(|text| Label::parse("reason", text)).transpose()?)
    }
}

/// Parses when a key ends; `None` is never.
pub(super) fn parse_end(text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    Ok(text.map(|text| parse_expiry("expiry", text, now)).transpose()?.flatten())
}

/// Parses a description.
pub(super) fn parse_description(text: Option<String>) -> Result<Option<Label>, Failure> {
    Ok(text.map(|text| Label::parse("description", &text)).transpose()?)
}

/// A new rate limit, or `None` for the documented one.
#[derive(Clone, Copy, Debug)]
pub(super) struct LimitEdit(pub(super) Option<RateLimit>);

pub(super) fn parse_limit_edit(text: &str) -> pdkeys::model::Result<LimitEdit> {
    if text == "default" { Ok(LimitEdit(None)) } else { text.parse().map(|limit| LimitEdit(Some(limit))) }
}

/// Parses the new value of a field that `none` clears. The outer `None` leaves the field as it is.
#[expect(clippy::option_option, reason = "the type of an edit: leave the field, clear it, or set it")]
pub(super) fn or_none<T, E>(
    text: Option<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<Option<T>>, E> {
    text.map(|text| if text == "none" { Ok(None) } else { parse(&text).map(Some) }).transpose()
}

/// Warns of each scope that no operation of the account's policy needs, which is most likely misspelt.
pub(super) fn warn_of_unknown_scopes(
    context: &Context,
    session: &mut Session<'_, SqliteStore>,
    scopes: Option<&ScopeSet>,
) -> Result<(), Failure> {
    let Some(scopes) = scopes else { return Ok(()) };
    if session.account()?.policy != Policy::PagerDuty {
        return Ok(());
    }
    for scope in scopes.iter() {
        if let Err(near) = known_scope(scope) {
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            context.terminal.warning(&format!("no operation of the policy pagerduty needs {scope}{near}"));
        }
    }
    Ok(())
}
