//! Verdicts: the result of a check, and the HTTP response that corresponds to it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::model::{Access, Credential, CredentialKind, Noun, Scope};
use crate::store::{Death, Tombstone};
use crate::verify::Api;

/// The reason of a verdict. The variants are in the order in which they are checked; the first that applies is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No credential was presented.
    Missing,
    /// The text that was presented has the shape of no credential.
    Malformed,
    /// A REST key was presented to the Events API, or an integration key to the REST API.
    WrongApi,
    /// The store has no such credential.
    Unknown,
    /// The credential was removed.
    Removed,
    /// The secret was replaced by a rotation, and its overlap has ended.
    Rotated,
    /// The credential is disabled.
    Disabled,
    /// The credential has expired.
    Expired,
    /// The user of the token has left the account.
    UserLeft,
    /// The account has switched off the ability that the credential needs.
    NoAbility,
    /// The method or the headers could be interpreted in more than one way.
    AmbiguousRequest,
    /// The request asks to switch to a protocol in which further requests would not be checked.
    Upgrade,
    /// The path could be interpreted in more than one way.
    AmbiguousPath,
    /// The request asks for the present user, and the credential has no user.
    NoUser,
    /// The policy does not know the operation.
    UnknownOperation,
    /// The credential is read-only, and the request is not a read.
    ReadOnly,
    /// The user's role does not hold the scopes that are needed.
    Role,
    /// The credential does not have the scopes that are needed.
    Scope,
    /// The request would be allowed, but exceeds the rate limit.
    RateLimited,
    /// The request is allowed.
    Allowed,
}

impl Reason {
    /// Every reason, in the order in which they are checked.
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

    /// Returns the name of the reason. Names are stable, because other programs read them.
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

    /// Returns the HTTP status with which an API responds.
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

/// The state of a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RateState {
    /// The number of checks that are allowed per minute.
    pub limit: u32,
    /// The number of checks that remain in the present window.
    pub remaining: u64,
    /// The number of seconds until the window ends.
    pub reset: u64,
}

/// The result of a check.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The reason: [`Reason::Allowed`], or why the request is denied.
    pub reason: Reason,
    /// The API of the request.
    pub api: Api,
    /// The credential, if the store has it.
    pub credential: Option<Arc<Credential>>,
    /// The scopes that are needed, as far as the check determined them.
    pub needed: Cow<'static, [Scope]>,
    /// The state of the rate limit, if the check was counted and the credential has one.
    pub rate_limit: Option<RateState>,
    /// The operation in the table of the API, if one matches.
    pub operation: Option<&'static str>,
    /// The tombstone of a credential that was removed or rotated.
    pub(super) tombstone: Option<Tombstone>,
    /// The length of a malformed credential, and whether it has characters other than letters and digits.
    pub(super) malformed: Option<(usize, bool)>,
}

impl Verdict {
    /// Creates a verdict that denies a request, without further details.
    pub(super) fn denied(reason: Reason, api: Api) -> Self {
        Self {
            reason,
            api,
            credential: None,
            needed: Cow::Borrowed(&[]),
            rate_limit: None,
            operation: None,
            tombstone: None,
            malformed: None,
        }
    }

    /// Creates a verdict that denies an ambiguous request, for callers that detect the ambiguity themselves.
    #[must_use]
    pub fn ambiguous_request(api: Api) -> Self {
        Self::denied(Reason::AmbiguousRequest, api)
    }

    /// Creates a verdict that denies an ambiguous path, for callers that detect the ambiguity themselves.
    #[must_use]
    pub fn ambiguous_path(api: Api) -> Self {
        Self::denied(Reason::AmbiguousPath, api)
    }

    /// Creates a verdict that denies a switch to another protocol.
    #[must_use]
    pub fn upgrade(api: Api) -> Self {
        Self::denied(Reason::Upgrade, api)
    }

    /// Returns true if the request is allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.reason == Reason::Allowed
    }

    /// Returns the HTTP status with which the API responds.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.reason.status(self.api)
    }

    /// Returns the state of the rate limit that clients may see. Unauthenticated clients see none.
    #[must_use]
    pub fn told_rate_limit(&self) -> Option<RateState> {
        let is_told = self.status() != 401 && !(self.api.is_events() && self.status() == 400);
        self.rate_limit.filter(|_| is_told)
    }

    /// Returns the HTTP headers of the response, apart from those about the body.
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

    /// Returns the JSON body of the response to the client; empty if the request is allowed, since the API responds then.
    /// Every response with status 401 is the same.
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

    /// Returns a message for the operator. It must not be sent to clients, because it reveals what is known of a key.
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
            Reason::Removed | Reason::Rotated => match &self.tombstone {
                Some(tombstone) => {
                    let how = match tombstone.death {
                        Death::Removed => "was removed",
                        Death::Rotated => "was given another secret",
                    };
                    format!("{} {} {how} on {:.0}", noun(tombstone.id.noun()), tombstone.id, tombstone.at)
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

/// Serializes the documented form, which is stable because other programs read it.
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

/// Serializes a credential as part of a verdict.
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
    fn every_response_with_status_401_is_the_same() {
        let bodies: std::collections::HashSet<_> = Reason::ALL
            .iter()
            .map(|reason| Verdict::denied(*reason, Api::Rest))
            .filter(|verdict| verdict.status() == 401)
            .map(|verdict| (verdict.body(), verdict.headers()))
            .collect();
        assert_eq!(bodies.len(), 1);
    }
}
