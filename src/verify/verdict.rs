//! The answer to "may this credential do this", and how the API would say it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::model::{Access, Credential, CredentialKind, Noun, Scope};
use crate::store::{Death, Tombstone};
use crate::verify::Api;

/// Why something is allowed or denied; one reason each, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No credential was presented.
    Missing,
    /// What was presented has the shape of no credential.
    Malformed,
    /// A REST key on the Events API, or the reverse.
    WrongApi,
    /// It is not in the store.
    Unknown,
    /// It was removed.
    Removed,
    /// It was rotated away.
    Rotated,
    /// It is switched off.
    Disabled,
    /// Its time is over.
    Expired,
    /// Its user has left.
    UserLeft,
    /// The account lacks the ability.
    NoAbility,
    /// The request could be read in more than one way.
    AmbiguousRequest,
    /// It asks for another protocol, in which what follows is not checked.
    Upgrade,
    /// The path could be read in more than one way.
    AmbiguousPath,
    /// It was asked who the user is, of a credential that belongs to none.
    NoUser,
    /// The policy does not know what the request needs.
    UnknownOperation,
    /// A read-only key was to write.
    ReadOnly,
    /// It is beyond the user's role.
    Role,
    /// It is beyond the credential's scopes.
    Scope,
    /// It is allowed, but came too often.
    RateLimited,
    /// It is allowed.
    Allowed,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 20] = [
        Self::Missing,
        Self::Malformed,
        Self::WrongApi,
        Self::Unknown,
        Self::Removed,
        Self::Rotated,
        Self::Disabled,
        Self::Expired,
        Self::UserLeft,
        Self::NoAbility,
        Self::AmbiguousRequest,
        Self::Upgrade,
        Self::AmbiguousPath,
        Self::NoUser,
        Self::UnknownOperation,
        Self::ReadOnly,
        Self::Role,
        Self::Scope,
        Self::RateLimited,
        Self::Allowed,
    ];

    /// The reason's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::WrongApi => "wrong-api",
            Self::Unknown => "unknown",
            Self::Removed => "removed",
            Self::Rotated => "rotated",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::UserLeft => "user-left",
            Self::NoAbility => "no-ability",
            Self::AmbiguousRequest => "ambiguous-request",
            Self::Upgrade => "upgrade",
            Self::AmbiguousPath => "ambiguous-path",
            Self::NoUser => "no-user",
            Self::UnknownOperation => "unknown-operation",
            Self::ReadOnly => "read-only",
            Self::Role => "role",
            Self::Scope => "scope",
            Self::RateLimited => "rate-limited",
            Self::Allowed => "allowed",
        }
    }

    /// The HTTP status with which an API answers.
    #[must_use]
    #[expect(
        clippy::match_same_arms,
        reason = "an arm is a row of the documented table, and rows may be alike"
    )]
    pub const fn status(self, api: Api) -> u16 {
        match (self, api) {
            (Self::Allowed, Api::Rest | Api::EventsV1) => 200,
            (Self::Allowed, Api::EventsV2) => 202,
            (Self::RateLimited, Api::Rest | Api::EventsV2) => 429,
            (Self::RateLimited, Api::EventsV1) => 403,
            (_, Api::EventsV1 | Api::EventsV2) => 400,
            (
                Self::Missing
                | Self::Malformed
                | Self::WrongApi
                | Self::Unknown
                | Self::Removed
                | Self::Rotated
                | Self::Disabled
                | Self::Expired
                | Self::UserLeft,
                Api::Rest,
            ) => 401,
            (Self::NoAbility, Api::Rest) => 402,
            (Self::AmbiguousRequest | Self::Upgrade | Self::AmbiguousPath | Self::NoUser, Api::Rest) => 400,
            (Self::UnknownOperation | Self::ReadOnly | Self::Role | Self::Scope, Api::Rest) => 403,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a rate limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RateState {
    /// How many checks a minute are allowed.
    pub limit: u32,
    /// How many are left in this window.
    pub remaining: u64,
    /// In how many seconds the window ends.
    pub reset: u64,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Allowed, or why not.
    pub reason: Reason,
    /// The API that was asked about.
    pub api: Api,
    /// The credential, if it is in the store.
    pub credential: Option<Arc<Credential>>,
    /// The scopes that are needed, all of them, if that came into question.
    pub needed: Cow<'static, [Scope]>,
    /// Where the credential's rate limit stands, if it counts and has one.
    pub rate_limit: Option<RateState>,
    /// The operation of the table, if it is one.
    pub operation: Option<&'static str>,
    pub(super) remains: Option<Tombstone>,
    pub(super) malformed: Option<(usize, bool)>,
}

impl Verdict {
    /// Denied, and nothing else known.
    pub(super) fn denied(reason: Reason, api: Api) -> Self {
        Self {
            reason,
            api,
            credential: None,
            needed: Cow::Borrowed(&[]),
            rate_limit: None,
            operation: None,
            remains: None,
            malformed: None,
        }
    }

    /// Denied because the request could be read in more than one way: for whoever reads it before a verifier does.
    #[must_use]
    pub fn ambiguous_request(api: Api) -> Self {
        Self::denied(Reason::AmbiguousRequest, api)
    }

    /// Denied because the path could be read in more than one way, likewise.
    #[must_use]
    pub fn ambiguous_path(api: Api) -> Self {
        Self::denied(Reason::AmbiguousPath, api)
    }

    /// Denied because the request asks for another protocol, in which what follows is not checked.
    #[must_use]
    pub fn upgrade(api: Api) -> Self {
        Self::denied(Reason::Upgrade, api)
    }

    /// Whether it is allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.reason == Reason::Allowed
    }

    /// The HTTP status with which the API answers.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.reason.status(self.api)
    }

    /// Where the rate limit stands, as far as a client is told: whoever is not known is told nothing.
    #[must_use]
    pub fn told_rate_limit(&self) -> Option<RateState> {
        let is_told = self.status() != 401 && !(self.api.is_events() && self.status() == 400);
        self.rate_limit.filter(|_| is_told)
    }

    /// The HTTP headers of the answer, but for those of the body.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self.told_rate_limit() {
            Some(state) => vec![
                ("ratelimit-limit", state.limit.to_string()),
                ("ratelimit-remaining", state.remaining.to_string()),
                ("ratelimit-reset", state.reset.to_string()),
            ],
            None => Vec::new(),
        }
    }

    /// The body with which the API answers a client, in JSON; empty where the request goes on to the API itself. To
    /// a client every 401 looks the same.
    #[must_use]
    pub fn body(&self) -> String {
        if self.is_allowed() {
            return String::new();
        }
        let body = if self.api.is_events() { self.events_body() } else { self.rest_body() };
        body.to_string()
    }

    fn rest_body(&self) -> serde_json::Value {
        let error = |message: &str, code: u32| json!({ "error": { "message": message, "code": code } });
        match self.reason {
            Reason::NoUser => json!({
                "error": "Because this request was made using an account-level access token, we were unable to \
                          determine the user's identity. Please use a user-level token."
            }),
            Reason::Scope => json!({
                "error": {
                    "message": "Token missing required scopes",
                    "required_scopes": join(&self.needed),
                    "token_scopes": self.credential.as_ref().and_then(|credential| credential.access.scopes())
                        .map(ToString::to_string).unwrap_or_default(),
                }
            }),
            _ => match self.status() {
                401 => error("Unauthorized", 2006),
                402 => error("Account does not have the required abilities", 2014),
                403 => error("Access Denied", 2010),
                429 => error("Rate Limit Exceeded", 2020),
                _ => error("Invalid Input Provided", 2001),
            },
        }
    }

    fn events_body(&self) -> serde_json::Value {
        let invalid = |errors: Vec<String>| json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors });
        let v1 = self.api == Api::EventsV1;
        match self.reason {
            Reason::RateLimited => json!({ "status": "throttle exceeded", "message": "Rate Limit Exceeded" }),
            Reason::Missing if v1 => invalid(vec!["Service key is missing".to_owned()]),
            Reason::Missing => invalid(vec!["'routing_key' is missing or blank".to_owned()]),
            Reason::Malformed | Reason::WrongApi if v1 => {
                invalid(vec!["Service key is the wrong length (should be 32 characters)".to_owned()])
            }
            Reason::Malformed | Reason::WrongApi => {
                let (length, other_characters) = self.malformed.unwrap_or((0, false));
                let mut errors = Vec::new();
                if length != 32 {
                    errors.push("Length of 'routing_key' is incorrect (should be 32 characters)".to_owned());
                }
                if other_characters {
                    errors.push("'routing_key' cannot contain non-alphanumeric characters.".to_owned());
                }
                if errors.is_empty() {
                    errors.push("Invalid routing key".to_owned());
                }
                invalid(errors)
            }
            _ => invalid(vec!["Invalid routing key".to_owned()]),
        }
    }

    /// What to tell the operator: never the client, who is not to learn what is known of a key.
    #[must_use]
    pub fn message(&self) -> String {
        let name = || self.credential.as_deref().map_or_else(|| "the credential".to_owned(), name_of);
        match self.reason {
            Reason::Allowed => format!("{} may do this", name()),
            Reason::Missing => "no credential was presented".to_owned(),
            Reason::Malformed => "what was presented does not look like any key".to_owned(),
            Reason::WrongApi if self.api.is_events() => {
                "a REST key does not work on the Events API; an integration key does".to_owned()
            }
            Reason::WrongApi => "an integration key does not work on the REST API; a REST key does".to_owned(),
            Reason::Unknown => "no such key is in the store".to_owned(),
            Reason::Removed | Reason::Rotated => match &self.remains {
                Some(remains) => {
                    let how = match remains.death {
                        Death::Removed => "was removed",
                        Death::Rotated => "was given another secret",
                    };
                    format!("{} {} {how} on {:.0}", noun(remains.id.noun()), remains.id, remains.at)
                }
                None => format!("{} was given another secret, and the overlap is over", name()),
            },
            Reason::Disabled => format!("{} is disabled", name()),
            Reason::Expired => format!("{} has expired", name()),
            Reason::UserLeft => format!("the user of {} has left", name()),
            Reason::NoAbility => "the account has switched off what this credential needs".to_owned(),
            Reason::AmbiguousRequest => "the method or its headers could be read in more than one way".to_owned(),
            Reason::Upgrade => "the request asks for another protocol, and WebSocket alone is allowed".to_owned(),
            Reason::AmbiguousPath => "the path could be read in more than one way".to_owned(),
            Reason::NoUser => format!("{} belongs to no user", name()),
            Reason::UnknownOperation => {
                "the account's policy does not know this operation; for an API of your own there is the policy \
                 `convention`"
                    .to_owned()
            }
            Reason::ReadOnly => format!("{} is read-only, and this needs {}", name(), join(&self.needed)),
            Reason::Role => {
                let role = self.credential.as_ref().and_then(|credential| Some(credential.owner.as_ref()?.role));
                let role = role.map(|role| format!(" {role}")).unwrap_or_default();
                format!("this needs {}, which the role{role} does not hold", join(&self.needed))
            }
            Reason::Scope => {
                let has = self.credential.as_ref().and_then(|credential| credential.access.scopes());
                let has = has.filter(|scopes| !scopes.is_empty()).map_or("none".to_owned(), ToString::to_string);
                format!("this needs {}, and {} has {has}", join(&self.needed), name())
            }
            Reason::RateLimited => {
                let limit = self.rate_limit.map(|state| format!(" of {} a minute", state.limit)).unwrap_or_default();
                format!("{} has used up its limit{limit}", name())
            }
        }
    }
}

fn noun(noun: Noun) -> &'static str {
    match noun {
        Noun::UserToken => "token",
        Noun::App => "a token of app",
        Noun::Integration => "integration",
        _ => "key",
    }
}

fn name_of(credential: &Credential) -> String {
    format!("{} {} ({})", noun(credential.id.noun()), credential.id, credential.description)
}

fn join(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
}

/// The stable form: documented, and read by other programs.
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut verdict = serializer.serialize_struct("Verdict", 8)?;
        verdict.serialize_field("allowed", &self.is_allowed())?;
        verdict.serialize_field("reason", &self.reason)?;
        verdict.serialize_field("status", &self.status())?;
        verdict.serialize_field("message", &self.message())?;
        verdict.serialize_field("credential", &self.credential.as_deref().map(Described))?;
        verdict.serialize_field("needed", &self.needed)?;
        verdict.serialize_field("rate_limit", &self.rate_limit)?;
        verdict.serialize_field("operation", &self.operation)?;
        verdict.end()
    }
}

/// A credential as a verdict tells it.
struct Described<'c>(&'c Credential);

impl Serialize for Described<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(credential) = self;
        let owner = credential.owner.as_ref();
        let destination =
            |noun: Noun| credential.destination.as_ref().filter(|place| place.id.noun() == noun);
        let is_app = credential.kind == CredentialKind::AppToken;
        let access = if credential.kind == CredentialKind::Integration {
            None
        } else {
            Some(credential.access.kind())
        };
        let mut described = serializer.serialize_struct("Credential", 11)?;
        described.serialize_field("kind", &credential.kind)?;
        described.serialize_field("id", &credential.id)?;
        described.serialize_field("description", &credential.description)?;
        described.serialize_field("hint", &credential.hint)?;
        described
            .serialize_field("owner", &owner.map(|owner| json!({ "id": owner.id, "name": owner.name })))?;
        described.serialize_field("role", &owner.map(|owner| owner.role))?;
        described.serialize_field("access", &access)?;
        described.serialize_field("scopes", &Access::scopes(&credential.access))?;
        described.serialize_field("service", &destination(Noun::Service))?;
        described.serialize_field("orchestration", &destination(Noun::Orchestration))?;
        let app = is_app.then(|| json!({ "id": credential.id, "name": credential.description }));
        described.serialize_field("app", &app)?;
        described.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_has_the_documented_status() {
        let statuses: Vec<_> = Reason::ALL
            .iter()
            .map(|reason| {
                let [rest, v1, v2] = [Api::Rest, Api::EventsV1, Api::EventsV2].map(|api| reason.status(api));
                format!("{reason} {rest} {v1} {v2}")
            })
            .collect();
        assert_eq!(
            statuses.join("\n"),
            "missing 401 400 400\nmalformed 401 400 400\nwrong-api 401 400 400\nunknown 401 400 400\n\
             removed 401 400 400\nrotated 401 400 400\ndisabled 401 400 400\nexpired 401 400 400\n\
             user-left 401 400 400\nno-ability 402 400 400\nambiguous-request 400 400 400\n\
             upgrade 400 400 400\nambiguous-path 400 400 400\nno-user 400 400 400\nunknown-operation 403 400 400\nread-only 403 400 400\n\
             role 403 400 400\nscope 403 400 400\nrate-limited 429 403 429\nallowed 200 200 202"
        );
    }

    #[test]
    fn to_a_client_every_401_looks_the_same() {
        let bodies: std::collections::HashSet<_> = Reason::ALL
            .iter()
            .map(|reason| Verdict::denied(*reason, Api::Rest))
            .filter(|verdict| verdict.status() == 401)
            .map(|verdict| (verdict.body(), verdict.headers()))
            .collect();
        assert_eq!(bodies.len(), 1);
    }
}
