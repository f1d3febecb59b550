//! Maps a method and a path to the scopes that are needed, and judges whether an access has them.

use std::borrow::Cow;

use crate::model::{Access, Owner, Policy, Role, Scope, ScopeSet};
use crate::verify::{Path, Reason, operations};

/// The methods that are accepted.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The resources below `/users/{id}` that every user may read and write for themselves.
const OWN_RESOURCES: [&str; 5] = [
    "contact_methods",
    "notification_rules",
    "oncall_handoff_notification_rules",
    "status_update_notification_rules",
    "notification_subscriptions",
];

/// The result of judging a method and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// [`Reason::Allowed`], or the reason for denying the request.
    pub reason: Reason,
    /// The operation in the table of the API, if one matches.
    pub operation: Option<&'static str>,
    /// The scopes that are needed. A credential must have all of them.
    pub needed: Cow<'static, [Scope]>,
}

/// Returns true if a method is one that all programs interpret alike.
pub(super) fn is_method(method: &str) -> bool {
    METHODS.contains(&method)
}

fn only_reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// Judges whether a credential with this access may make a request, apart from its state and its rate limit. `owner` is
/// the owner of a user token.
#[must_use]
pub fn judge(
    policy: Policy,
    access: &Access,
    owner: Option<&Owner>,
    method: &str,
    path: &Path<'_>,
) -> Judgement {
    let (known, operation, needed) = needed(policy, method, path);
    let has = |scopes: &ScopeSet| needed.iter().all(|scope| scopes.contains(scope));
    let reason = match access {
        Access::Full => Reason::Allowed,
        Access::ReadOnly if only_reads(method) => Reason::Allowed,
        Access::Role(None) if owner.is_some_and(|owner| owner.role.is_senior()) => Reason::Allowed,
        // Only access to everything, or to reading everything, allows an unknown operation.
        _ if !known => Reason::UnknownOperation,
        Access::ReadOnly => Reason::ReadOnly,
        Access::Scopes(scopes) if has(scopes) => Reason::Allowed,
        Access::Scopes(_) => Reason::Scope,
        Access::Role(narrowed) => match owner {
            Some(owner) if !may(policy, owner, method, path, &needed) => Reason::Role,
            Some(_) if narrowed.as_ref().is_none_or(has) => Reason::Allowed,
            Some(_) => Reason::Scope,
            // Without an owner there is no role, and nothing is allowed.
            None => Reason::Role,
        },
    };
    Judgement { reason, operation, needed }
}

/// Returns whether the policy knows the request, the operation that it matches, and the scopes that it needs.
fn needed(
    policy: Policy,
    method: &str,
    path: &Path<'_>,
) -> (bool, Option<&'static str>, Cow<'static, [Scope]>) {
    const UNKNOWN: (bool, Option<&str>, Cow<'static, [Scope]>) = (false, None, Cow::Borrowed(&[]));
    match policy {
        Policy::PagerDuty => match operations::find(method, path) {
            // An operation without scopes would be open to every credential.
            Some(operation) if !operation.needed.is_empty() => {
                (true, Some(operation.id), Cow::Borrowed(&operation.needed))
            }
            _ => UNKNOWN,
        },
        Policy::Convention => {
            let right = if only_reads(method) { "read" } else { "write" };
            let scope = path.first().and_then(|resource| Scope::of_resource(resource, right));
            scope.map_or(UNKNOWN, |scope| (true, None, Cow::Owned(vec![scope])))
        }
    }
}

/// Returns true if the role of a user holds the scopes, or the request is one that every user, or every Responder, may
/// make.
fn may(policy: Policy, owner: &Owner, method: &str, path: &Path<'_>, needed: &[Scope]) -> bool {
    needed.iter().all(|scope| owner.role.holds(scope))
        // These exceptions are for paths of PagerDuty's API, which may mean something else in another one.
        || (policy == Policy::PagerDuty
            && ((owner.role == Role::LimitedUser && is_override(path)) || is_about_oneself(owner, method, path)))
}

/// Returns true for the overrides of a schedule, which Responders may change.
fn is_override(path: &Path<'_>) -> bool {
    let mut segments = path.segments();
    segments.next() == Some("schedules") && segments.nth(1) == Some("overrides")
}

/// Returns true if a request is about the owner of the token: reading the user, or any request for an own resource.
fn is_about_oneself(owner: &Owner, method: &str, path: &Path<'_>) -> bool {
    let own_id = match &owner.external_id {
        Some(external_id) => external_id.clone(),
        None => owner.id.to_string(),
    };
    let mut segments = path.segments();
    if segments.next() != Some("users") {
        return false;
    }
    match (segments.next(), segments.next()) {
        (Some(user), None) => only_reads(method) && (user == "me" || user == own_id),
        (Some(user), Some(resource)) => user == own_id && OWN_RESOURCES.contains(&resource),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(policy: Policy, access: &Access, owner: Option<&Owner>, method: &str, path: &str) -> Reason {
        judge(policy, access, owner, method, &Path::parse(path.as_bytes()).unwrap()).reason
    }

    fn owner(role: Role) -> Owner {
        Owner {
            id: "U00000001".parse().unwrap(),
            name: "ann".to_owned(),
            role,
            external_id: None,
            has_left: false,
        }
    }

    fn as_role(role: Role, method: &str, path: &str) -> Reason {
        judged(Policy::PagerDuty, &Access::Role(None), Some(&owner(role)), method, path)
    }

    #[test]
    fn a_read_only_key_may_get_anything_and_write_nothing() {
        let judged = |method, path| judged(Policy::PagerDuty, &Access::ReadOnly, None, method, path);
        assert_eq!(judged("GET", "/incidents"), Reason::Allowed);
        assert_eq!(judged("HEAD", "/nowhere/at/all"), Reason::Allowed);
        assert_eq!(judged("POST", "/incidents"), Reason::ReadOnly);
        assert_eq!(judged("POST", "/analytics/metrics/incidents/all"), Reason::ReadOnly);
        assert_eq!(judged("POST", "/nowhere"), Reason::UnknownOperation);
    }

    #[test]
    fn write_does_not_imply_read() {
        let judged = |scopes: &str, method, path| {
            judged(Policy::PagerDuty, &Access::Scopes(scopes.parse().unwrap()), None, method, path)
        };
        assert_eq!(judged("incidents.write", "GET", "/incidents"), Reason::Scope);
        assert_eq!(judged("incidents.write", "POST", "/incidents"), Reason::Allowed);
        assert_eq!(judged("incidents.read", "HEAD", "/incidents"), Reason::Allowed);
        assert_eq!(judged("incidents.read", "GET", "/nowhere"), Reason::UnknownOperation);
    }

    #[test]
    fn a_responder_may_change_the_overrides_of_a_schedule_only() {
        assert_eq!(as_role(Role::LimitedUser, "POST", "/schedules/P1/overrides"), Reason::Allowed);
        assert_eq!(as_role(Role::LimitedUser, "DELETE", "/schedules/P1/overrides/P2"), Reason::Allowed);
        assert_eq!(as_role(Role::LimitedUser, "PUT", "/schedules/P1"), Reason::Role);
        assert_eq!(as_role(Role::Observer, "POST", "/schedules/P1/overrides"), Reason::Role);
    }

    #[test]
    fn every_role_may_read_and_maintain_its_own_user_only() {
        for role in [Role::RestrictedAccess, Role::ReadOnlyLimitedUser, Role::Observer] {
            assert_eq!(as_role(role, "GET", "/users/me"), Reason::Allowed, "{role}");
            assert_eq!(as_role(role, "GET", "/users/U00000001"), Reason::Allowed, "{role}");
            assert_eq!(as_role(role, "POST", "/users/U00000001/contact_methods"), Reason::Allowed, "{role}");
            assert_eq!(as_role(role, "PUT", "/users/U00000001"), Reason::Role, "{role}");
            assert_eq!(as_role(role, "GET", "/users/U00000001/sessions"), Reason::Role, "{role}");
            assert_eq!(as_role(role, "POST", "/users/U00000002/contact_methods"), Reason::Role, "{role}");
        }
        let recorded = Owner { external_id: Some("PXYZ".to_owned()), ..owner(Role::RestrictedAccess) };
        let judged = |path| judged(Policy::PagerDuty, &Access::Role(None), Some(&recorded), "GET", path);
        assert_eq!(judged("/users/PXYZ"), Reason::Allowed);
        assert_eq!(judged("/users/pxyz"), Reason::Role, "exact bytes");
        assert_eq!(
            judged("/users/U00000001"),
            Reason::Role,
            "the recorded id replaces the one of this account"
        );
    }

    #[test]
    fn a_token_limited_to_scopes_has_only_those_that_its_role_holds() {
        let narrowed = Access::Role(Some("incidents.read incidents.write".parse().unwrap()));
        let as_role =
            |role, method, path| judged(Policy::PagerDuty, &narrowed, Some(&owner(role)), method, path);
        assert_eq!(as_role(Role::Owner, "POST", "/incidents"), Reason::Allowed);
        assert_eq!(as_role(Role::Owner, "GET", "/services"), Reason::Scope);
        assert_eq!(as_role(Role::Owner, "GET", "/nowhere"), Reason::UnknownOperation);
        assert_eq!(as_role(Role::Observer, "POST", "/incidents"), Reason::Role, "the role was taken away");
    }

    #[test]
    fn exceptions_for_own_resources_apply_to_the_pagerduty_policy_only() {
        for path in ["/users/U00000001/contact_methods/any/deeper", "/users/me", "/schedules/1/overrides"] {
            for role in [Role::RestrictedAccess, Role::LimitedUser] {
                let judged =
                    judged(Policy::Convention, &Access::Role(None), Some(&owner(role)), "POST", path);
                assert_eq!(judged, Reason::Role, "{role} {path}");
            }
        }
    }

    #[test]
    fn the_convention_policy_takes_the_first_segment_as_the_resource() {
        let judged = |scopes: &str, method, path| {
            judged(Policy::Convention, &Access::Scopes(scopes.parse().unwrap()), None, method, path)
        };
        assert_eq!(judged("orders.read", "GET", "/orders/7/lines"), Reason::Allowed);
        assert_eq!(judged("orders.read", "PATCH", "/orders/7"), Reason::Scope);
        assert_eq!(judged("orders.write", "OPTIONS", "/orders"), Reason::Allowed);
        assert_eq!(judged("orders.read", "GET", "/Orders"), Reason::UnknownOperation);
        assert_eq!(judged("orders.read", "GET", "/"), Reason::UnknownOperation);
    }
}
