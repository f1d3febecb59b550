//! Acting users, and the permits that they obtain, each for one action on one target.

use std::fmt;

use jiff::Timestamp;

use super::action::Action;
use super::table::{Decision, Target, decide};
use crate::model::{
    Actor, App, AuditAction, AuditRecord, Audited, Change, Details, ExecutionContext, Hint, Method, Name,
    Noun, Resource, Role, SecretChange, User, UserRef,
};

/// The acting user of one command, with the facts that its audit records need.
#[derive(Clone, Debug)]
pub struct Acting {
    user: User,
    owner: Option<User>,
    method: Method,
    request_id: String,
    at: Timestamp,
}

impl Acting {
    /// Creates an acting user who was identified by the operating system.
    #[must_use]
    pub fn os_user(user: User, request_id: String, at: Timestamp) -> Self {
        let method = Method { kind: "os_user".to_owned(), truncated_token: None };
        Self { user, owner: None, method, request_id, at }
    }

    /// Creates an acting user who was identified by a user token. `hint` is the token's.
    #[must_use]
    pub fn api_token(user: User, hint: Option<&Hint>, request_id: String, at: Timestamp) -> Self {
        let truncated_token = hint.map(|hint| hint.as_str().to_owned());
        let method = Method { kind: "api_token".to_owned(), truncated_token };
        Self { user, owner: None, method, request_id, at }
    }

    /// Switches to another user. Audit records will name both.
    ///
    /// # Errors
    /// If the acting user is not the Account Owner.
    pub fn on_behalf_of(self, other: User) -> Result<Self, NotPermitted> {
        require(&self, Action::ActAsUser, &Target::all(Noun::Account))?;
        Ok(Self { user: other, owner: Some(self.user), ..self })
    }

    /// Returns the acting user.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Returns the Account Owner, if the owner acts as another user.
    #[must_use]
    pub fn owner(&self) -> Option<&User> {
        self.owner.as_ref()
    }

    /// Returns how the acting user was identified.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the time of the command.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl From<&Acting> for UserRef {
    fn from(acting: &Acting) -> Self {
        Self { id: acting.user.id, name: Name::clone(&acting.user.name) }
    }
}

/// The error returned if the acting user lacks a permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{actor} ({role}) may not {action}{}", Suffix(limit.as_deref()))]
pub struct NotPermitted {
    /// The acting user's name.
    pub actor: String,
    /// The acting user's role.
    pub role: Role,
    /// The action that was denied.
    pub action: Action,
    /// The condition that is not met, unless the role alone forbids the action.
    pub limit: Option<String>,
}

/// Writes `: ` and the text, if there is one.
struct Suffix<'t>(Option<&'t str>);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

/// Asks the permission table, and returns the permit for one change if the acting user may perform the action.
///
/// # Errors
/// [`NotPermitted`] otherwise.
pub fn authorize(acting: &Acting, action: Action, target: &Target) -> Result<Permit, NotPermitted> {
    match decide(&acting.user, action, target) {
        Decision::Allowed => {
            let mut actors = vec![acting.user.resource()];
            actors.extend(acting.owner.as_ref().map(Audited::resource));
            Ok(Permit {
                action,
                target: target.id().to_owned(),
                actors,
                method: acting.method.clone(),
                request_id: acting.request_id.clone(),
                at: acting.at,
            })
        }
        Decision::Denied(limit) => {
            Err(NotPermitted { actor: acting.user.name.to_string(), role: acting.user.role, action, limit })
        }
    }
}

/// Asks the permission table about an action that changes nothing.
///
/// # Errors
/// [`NotPermitted`] if the acting user may not perform the action.
pub fn require(acting: &Acting, action: Action, target: &Target) -> Result<(), NotPermitted> {
    authorize(acting, action, target).map(drop)
}

/// The receipt for one permitted action on one target. The store consumes it with the change.
#[derive(Debug)]
#[must_use = "a permit has no effect until a change of the store consumes it"]
pub struct Permit {
    action: Action,
    target: String,
    actors: Vec<Actor>,
    method: Method,
    request_id: String,
    at: Timestamp,
}

impl Permit {
    /// Permits founding an account, by the operating-system user who becomes its owner. The account has no users yet
    /// whose role could be looked up.
    pub(crate) fn founder<T: Audited>(owner: &User, founded: &T, request_id: &str, at: Timestamp) -> Self {
        let action = if founded.noun() == Noun::Account { Action::FoundAccount } else { Action::AddUser };
        Self {
            action,
            target: founded.audit_id(),
            actors: vec![owner.resource()],
            method: Method { kind: "os_user".to_owned(), truncated_token: None },
            request_id: request_id.to_owned(),
            at,
        }
    }

    /// Permits issuing a token to an app that has presented its client secret. The app acts for itself: no user is
    /// involved.
    pub(crate) fn client(app: &App, secret: &Hint, request_id: &str, at: Timestamp) -> Self {
        Self::holder(Action::IssueAppToken, app, secret, request_id, at)
    }

    /// Permits an action on the credential, or app, whose secret was presented. No user is involved: a holder who can
    /// use the secret may also end it.
    pub(crate) fn holder<T: Audited>(
        action: Action,
        held: &T,
        secret: &Hint,
        request_id: &str,
        at: Timestamp,
    ) -> Self {
        Self {
            action,
            target: held.audit_id(),
            actors: vec![held.resource()],
            method: Method { kind: "holder".to_owned(), truncated_token: Some(secret.as_str().to_owned()) },
            request_id: request_id.to_owned(),
            at,
        }
    }

    /// Permits restoring a backup where no store exists to ask, by the operating-system user `uid`, who can write the
    /// files. The record names `user` if the restored account has one for that uid.
    pub(crate) fn restorer(
        uid: u32,
        user: Option<&User>,
        account: &impl Audited,
        request_id: &str,
        at: Timestamp,
    ) -> Self {
        let unknown = || Resource {
            id: uid.to_string(),
            kind: "os_user".to_owned(),
            summary: format!("operating-system user {uid}"),
        };
        Self {
            action: Action::Restore,
            target: account.audit_id(),
            actors: vec![user.map_or_else(unknown, Audited::resource)],
            method: Method { kind: "os_user".to_owned(), truncated_token: None },
            request_id: request_id.to_owned(),
            at,
        }
    }

    /// Returns when the permit was granted, which is the time of the change.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Consumes the permit, and returns the audit record of a change. `secrets` is the change to the target's
    /// secrets; `number` is the number of the record.
    ///
    /// # Errors
    /// [`NotCovered`] if the permit is for another target or kind of change, or the action may not change one of the
    /// fields or the secrets.
    pub fn record<T: Audited>(
        self,
        change: &Change<T>,
        secrets: SecretChange,
        number: u64,
    ) -> Result<AuditRecord, NotCovered> {
        let root_resource = change.subject().resource();
        let fields = change.fields();
        let (noun, effect) = self.action.effect();
        let covers = (noun, effect, &self.target)
            == (change.subject().noun(), Some(change.action()), &root_resource.id)
            && self.action.covers_secrets(secrets)
            && (change.action() != AuditAction::Update
                || fields.iter().all(|field| self.action.touches().contains(&field.name.as_str())));
        if !covers {
            return Err(NotCovered {
                action: self.action,
                target: self.target,
                noun: change.subject().noun(),
                id: root_resource.id,
            });
        }
        Ok(AuditRecord {
            id: number,
            execution_time: self.at,
            execution_context: ExecutionContext { request_id: self.request_id, remote_address: None },
            actors: self.actors,
            method: self.method,
            root_resource,
            action: change.action(),
            details: Details { fields, evidence: None },
        })
    }
}

/// The error returned if a permit is used for a change that it was not granted for: a fault of the program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a permit to {action} {target} does not cover this change of {noun} {id}")]
pub struct NotCovered {
    action: Action,
    target: String,
    noun: Noun,
    id: String,
}
