//! Registered apps: a set of scopes, a client id and a client secret, and the one-day tokens that they get.

use jiff::{SignedDuration, Timestamp};

use crate::model::{Audited, Error, Hint, Id, Label, Name, Noun, RateLimit, Result, ScopeSet, UserRef};

/// How long an app token works.
pub const APP_TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// A registered app. Its id is its client id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The app's id, which is its client id.
    pub id: Id,
    /// What it is called; unique.
    pub name: Name,
    /// What it is for.
    pub description: Option<Label>,
    /// The scopes that its tokens are bounded by, now.
    pub scopes: ScopeSet,
    /// The last four characters of its client secret.
    pub hint: Hint,
    /// The limit that all its tokens share, where it is not the documented one.
    pub rate_limit: Option<RateLimit>,
    /// Until when the client secret before the last rotation works too.
    pub overlap_ends_at: Option<Timestamp>,
    /// When all the tokens issued until then were stopped, if they were.
    pub tokens_revoked_at: Option<Timestamp>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Who registered it.
    pub created_by: UserRef,
    /// When one of its tokens was last checked and found alive.
    pub last_used_at: Option<Timestamp>,
}

impl App {
    /// Until when an earlier client secret still works at a moment, if one does.
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

/// An app to be registered.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// What to call it.
    pub name: Name,
    /// What it is for.
    pub description: Option<Label>,
    /// The scopes that it is to have.
    pub scopes: ScopeSet,
    /// The limit that its tokens share, where it is not to be the documented one.
    pub rate_limit: Option<RateLimit>,
}

/// What to change of an app: `None` leaves a thing as it is, `Some(None)` takes it away.
#[derive(Clone, Debug, Default)]
pub struct AppEdit {
    /// Another name.
    pub name: Option<Name>,
    /// Another description, or none.
    pub description: Option<Option<Label>>,
    /// Fewer scopes.
    pub scopes: Option<ScopeSet>,
    /// Another limit, or the documented one again.
    pub rate_limit: Option<Option<RateLimit>>,
    /// Stop every token that was issued.
    pub revoke_tokens: bool,
}

impl AppEdit {
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

/// A token that an app gets for a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppToken {
    /// The app.
    pub app: Id,
    /// What the app is called.
    pub app_name: Name,
    /// The scopes that were asked for.
    pub scopes: ScopeSet,
    /// The last four characters.
    pub hint: Hint,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A token has no id of its own, and is gone after a day: records name it by its app.
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
