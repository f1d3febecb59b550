//! Registered apps, which have scopes and a client secret, and the one-day tokens issued to them.

use jiff::{SignedDuration, Timestamp};

use crate::model::{Audited, Error, Hint, Id, Label, Name, Noun, RateLimit, Result, ScopeSet, UserRef};

/// The lifetime of an app token.
pub const APP_TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// A registered app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The app's id, which is also its client id.
    pub id: Id,
    /// The app's name, unique among apps.
    pub name: Name,
    /// The purpose of the app.
    pub description: Option<Label>,
    /// The scopes of the app. They also bound the tokens that were issued before they were narrowed.
    pub scopes: ScopeSet,
    /// The last four characters of the client secret.
    pub hint: Hint,
    /// The rate limit that all tokens of the app share; `None` for the documented one.
    pub rate_limit: Option<RateLimit>,
    /// The end of the overlap in which the client secret before the last rotation still works.
    pub overlap_ends_at: Option<Timestamp>,
    /// The last time that all tokens issued until then were revoked.
    pub tokens_revoked_at: Option<Timestamp>,
    /// The time of registration.
    pub created_at: Timestamp,
    /// The user who registered the app.
    pub created_by: UserRef,
    /// The last time that a token of the app was checked and found active.
    pub last_used_at: Option<Timestamp>,
}

impl App {
    /// Returns the end of the overlap, if an earlier client secret still works at `now`.
    #[must_use]
    pub fn overlap(&self, now: Timestamp) -> Option<Timestamp> {
        self.overlap_ends_at.filter(|end| *end > now)
    }
}

impl Audited for App {
    fn noun(&self) -> Noun {
        Noun::App
    }

    fn audit_id(&self) -> String {
        self.id.to_string()
    }

    fn audit_summary(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("name", Some(self.name.as_str().to_owned())),
            ("description", self.description.as_ref().map(|text| text.as_str().to_owned())),
            ("scopes", Some(self.scopes.to_string())),
            ("hint", Some(self.hint.as_str().to_owned())),
            ("rate_limit", self.rate_limit.map(|limit| limit.to_string())),
            ("overlap_ends_at", self.overlap_ends_at.map(|at| format!("{at:.3}"))),
            ("tokens_revoked_at", self.tokens_revoked_at.map(|at| format!("{at:.3}"))),
        ]
    }

    fn implied_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("created_at", Some(format!("{:.3}", self.created_at))),
            ("created_by", Some(self.created_by.id.to_string())),
        ]
    }
}

/// The values of an app to register.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// The name, unique among apps.
    pub name: Name,
    /// The purpose of the app.
    pub description: Option<Label>,
    /// The scopes to give to the app.
    pub scopes: ScopeSet,
    /// The rate limit that its tokens share; `None` for the documented one.
    pub rate_limit: Option<RateLimit>,
}

/// Changes to an app. `None` leaves a value unchanged; `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct AppEdit {
    /// The new name.
    pub name: Option<Name>,
    /// The new description.
    pub description: Option<Option<Label>>,
    /// The new scopes, a subset of the present ones.
    pub scopes: Option<ScopeSet>,
    /// The new rate limit; cleared, the documented one applies again.
    pub rate_limit: Option<Option<RateLimit>>,
    /// Whether to revoke every token issued so far.
    pub revoke_tokens: bool,
}

impl AppEdit {
    /// Returns the app with these changes, made at `at`.
    ///
    /// # Errors
    /// [`Error::WiderApp`] if a scope would be added.
    pub(crate) fn apply(self, app: &App, at: Timestamp) -> Result<App> {
        let mut app = app.clone();
        if let Some(scopes) = self.scopes {
            if !scopes.is_subset(&app.scopes) {
                return Err(Error::WiderApp);
            }
            app.scopes = scopes;
        }
        app.name = self.name.unwrap_or(app.name);
        app.description = self.description.unwrap_or(app.description);
        app.rate_limit = self.rate_limit.unwrap_or(app.rate_limit);
        if self.revoke_tokens {
            app.tokens_revoked_at = Some(at);
        }
        Ok(app)
    }
}

/// A token issued to an app, valid for [`APP_TOKEN_LIFE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppToken {
    /// The id of the app.
    pub app: Id,
    /// The name of the app.
    pub app_name: Name,
    /// The scopes that the app asked for.
    pub scopes: ScopeSet,
    /// The last four characters of the token.
    pub hint: Hint,
    /// The time of issue.
    pub issued_at: Timestamp,
    /// The expiry time.
    pub expires_at: Timestamp,
}

/// Audit records identify a token by its app, since it has no id of its own.
impl Audited for AppToken {
    fn noun(&self) -> Noun {
        Noun::AppToken
    }

    fn audit_id(&self) -> String {
        self.app.to_string()
    }

    fn audit_summary(&self) -> String {
        self.app_name.as_str().to_owned()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("token_scopes", Some(self.scopes.to_string())),
            ("token_hint", Some(self.hint.as_str().to_owned())),
            ("token_expires_at", Some(format!("{:.3}", self.expires_at))),
        ]
    }
}
