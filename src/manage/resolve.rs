//! Resolves references as users type them, and finds suggestions for those that do not resolve.
//!
//! A name that matches exactly has precedence: a store of an earlier version can contain several names that differ only
//! in case or Unicode form, and each must remain reachable. Otherwise a name resolves if exactly one is equal after
//! folding.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::authz::{Acting, Action, Target, require};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    App, Destination, GeneralKey, Id, Integration, Name, Noun, Secret, User, fold, looks_secret,
};
use crate::store::{AppBy, AppQuery, DestinationBy, DestinationQuery, ReadTx, UserBy, UserQuery, Visit};

/// The minimum similarity of a suggested name, where 1 means equal.
const LIKENESS: f64 = 0.6;
/// The maximum number of suggestions.
const MOST: usize = 3;

/// Returns a reference as typed, made safe for messages: a pasted secret is replaced by its hint, and control
/// characters are escaped.
pub(super) fn safe_to_show(typed: &str) -> String {
    if looks_secret(typed.trim().as_bytes()) {
        let hint = Secret::presented(typed.trim().to_owned()).hint();
        return format!("(a secret ending in {hint})");
    }
    crate::model::escape(typed).into_owned()
}

pub(super) fn not_found(noun: Noun, typed: &str, mut near: Vec<String>) -> Error {
    near.truncate(MOST);
    ErrorKind::NotFound { noun, reference: safe_to_show(typed), near }.into()
}

/// Returns a general key by id.
pub(super) fn general_key(tx: &impl ReadTx, typed: &str) -> Result<GeneralKey> {
    if let Ok(id) = typed.parse::<Id>()
        && id.noun() == Noun::GeneralKey
        && let Some(key) = tx.general_key(id)?
    {
        return Ok(key);
    }
    let mut near = Vec::new();
    for id in Id::neighbours(Noun::GeneralKey, typed) {
        if let Some(key) = tx.general_key(id)? {
            near.push(key.id.to_string());
        }
    }
    Err(not_found(Noun::GeneralKey, typed, near))
}

/// Returns a user that the acting user is permitted to see. Every user may see themselves.
pub(super) fn seen_user(tx: &mut impl ReadTx, acting: &Acting, typed: &str) -> Result<User> {
    let own = acting.user();
    if typed.parse::<Id>().is_ok_and(|id| id == own.id)
        || user_named(tx, typed)?.is_some_and(|named| named.id == own.id)
    {
        return Ok(acting.user().clone());
    }
    require(acting, Action::ShowUser, &Target::all(Noun::User))?;
    user(tx, typed)
}

/// A noun that can be referred to by name.
pub(super) trait Named {
    fn id(&self) -> Id;
    fn name(&self) -> &Name;
}

macro_rules! is_named {
    ($($noun:ty),*) => {
        $(impl Named for $noun {
            fn id(&self) -> Id {
                self.id
            }

            fn name(&self) -> &Name {
                &self.name
            }
        })*
    };
}

is_named!(User, Destination, App);

/// Returns the item whose name is equal to a typed name after folding, or `None` if there is none or more than one.
fn like<T: Named>(typed: &str, all: impl FnOnce(Visit<'_, T>) -> Result<()>) -> Result<Option<T>> {
    let typed = fold(typed.trim());
    let mut found = Vec::new();
    all(&mut |thing| {
        if fold(thing.name().as_str()) == typed {
            found.push(thing);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(if found.len() == 1 { found.pop() } else { None })
}

/// Returns an item other than `own` whose name is equal after folding.
pub(super) fn taken<T: Named>(
    name: &Name,
    own: Option<Id>,
    all: impl FnOnce(Visit<'_, T>) -> Result<()>,
) -> Result<Option<T>> {
    let mut found = None;
    all(&mut |thing| {
        if Some(thing.id()) != own && thing.name().is_like(name) {
            found = Some(thing);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Returns all items by folded name, for many lookups. Names that more than one item has map to `None`.
pub(super) fn by_likeness<T: Named>(
    all: impl FnOnce(Visit<'_, T>) -> Result<()>,
) -> Result<HashMap<String, Option<T>>> {
    let mut found = HashMap::new();
    all(&mut |thing| {
        let name = fold(thing.name().as_str());
        let entry = if found.contains_key(&name) { None } else { Some(thing) };
        found.insert(name, entry);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Visits the users who have not left.
pub(super) fn present_users(tx: &mut impl ReadTx, visit: Visit<'_, User>) -> Result<()> {
    tx.users(&UserQuery { present: true, ..UserQuery::default() }, visit)
}

/// Returns a user who has not left, by name.
pub(super) fn user_named(tx: &mut impl ReadTx, typed: &str) -> Result<Option<User>> {
    match tx.user(UserBy::Name(typed))? {
        None => like(typed, |visit| present_users(tx, visit)),
        exactly => Ok(exactly),
    }
}

/// Returns an integration by id.
pub(super) fn integration(tx: &impl ReadTx, typed: &str) -> Result<Integration> {
    if let Ok(id) = typed.parse::<Id>()
        && id.noun() == Noun::Integration
        && let Some(integration) = tx.integration(id)?
    {
        return Ok(integration);
    }
    let mut near = Vec::new();
    for id in Id::neighbours(Noun::Integration, typed) {
        near.extend(tx.integration(id)?.map(|integration| integration.id.to_string()));
    }
    Err(not_found(Noun::Integration, typed, near))
}

/// Returns an app by id or name, among those that `seen` accepts.
pub(super) fn app(tx: &mut impl ReadTx, typed: &str, seen: impl Fn(&App) -> bool) -> Result<App> {
    let by_id = match typed.parse::<Id>() {
        Ok(id) if id.noun() == Noun::App => tx.app(AppBy::Id(id))?,
        _ => None,
    };
    let found = match by_id {
        Some(found) => Some(found),
        None => match tx.app(AppBy::Name(typed))? {
            None => like(typed, |visit| tx.apps(&AppQuery::default(), visit))?,
            exactly => exactly,
        },
    };
    if let Some(app) = found.filter(&seen) {
        return Ok(app);
    }
    let mut names = Names::near(Noun::App, typed);
    tx.apps(&AppQuery::default(), &mut |app| {
        if seen(&app) {
            names.consider(app.id, app.name.as_str());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Err(not_found(Noun::App, typed, names.found()))
}

/// Returns a service or an orchestration by id or name.
pub(super) fn destination(tx: &mut impl ReadTx, noun: Noun, typed: &str) -> Result<Destination> {
    let by_id = match typed.parse::<Id>() {
        Ok(id) if id.noun() == noun => tx.destination(DestinationBy::Id(id))?,
        _ => None,
    };
    let found = match by_id {
        Some(found) => Some(found),
        None => match tx.destination(DestinationBy::Name(noun, typed))? {
            None => like(typed, |visit| tx.destinations(&DestinationQuery::all(noun), visit))?,
            exactly => exactly,
        },
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let mut names = Names::near(noun, typed);
    tx.destinations(&DestinationQuery::all(noun), &mut |destination| {
        names.consider(destination.id, destination.name.as_str());
        Ok(ControlFlow::Continue(()))
    })?;
    Err(not_found(noun, typed, names.found()))
}

/// Returns a user by id or name. A user who has left is found by id only.
pub(super) fn user(tx: &mut impl ReadTx, typed: &str) -> Result<User> {
    let by_id = match typed.parse::<Id>() {
        Ok(id) if id.noun() == Noun::User => tx.user(UserBy::Id(id))?,
        _ => None,
    };
    let found = match by_id {
        Some(user) => Some(user),
        None => user_named(tx, typed)?,
    };
    if let Some(user) = found {
        return Ok(user);
    }
    let mut names = Names::near(Noun::User, typed);
    tx.users(&UserQuery { present: true, ..UserQuery::default() }, &mut |user| {
        names.consider(user.id, user.name.as_str());
        Ok(ControlFlow::Continue(()))
    })?;
    Err(not_found(Noun::User, typed, names.found()))
}

/// Collects names and ids that are similar to a typed reference.
pub(super) struct Names {
    typed: String,
    ids: Vec<Id>,
    found: Vec<(f64, String)>,
}

impl Names {
    pub(super) fn near(noun: Noun, typed: &str) -> Self {
        Self { typed: typed.to_lowercase(), ids: Id::neighbours(noun, typed), found: Vec::new() }
    }

    pub(super) fn consider(&mut self, id: Id, name: &str) {
        if self.ids.contains(&id) {
            self.found.push((1.0, id.to_string()));
        }
        let likeness = strsim::normalized_damerau_levenshtein(&self.typed, &name.to_lowercase());
        if likeness >= LIKENESS {
            self.found.push((likeness, crate::model::escape(name).into_owned()));
        }
    }

    pub(super) fn found(mut self) -> Vec<String> {
        self.found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        self.found.into_iter().map(|(_, name)| name).collect()
    }
}
