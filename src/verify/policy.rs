//! What an access allows: from method and path to the scopes that are needed, and from those to a judgement.

use std::borrow::Cow;

use crate::model::{Access, Owner, Policy, Role, Scope, ScopeSet};
use crate::verify::{Path, Reason, operations};

/// The methods that a request can have.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What everybody may read and write below the own user.
const OWN_RESOURCES: [&str; 5] = [
    "contact_methods",
    "notification_rules",
    "oncall_handoff_notification_rules",
    "status_update_notification_rules",
    "notification_subscriptions",
];

/// What came of judging a method and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// [`Reason::Allowed`], or why not.
    pub reason: Reason,
    /// The operation of the table, if it is one.
    pub operation: Option<&'static str>,
    /// The scopes that are needed, all of them.
    pub needed: Cow<'static, [Scope]>,
}

/// Whether a method is one that two programs understand alike.
pub(super) fn is_method(method: &str) -> bool {
    METHODS.contains(&method)
}

fn only_reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// Judges what an access, and the user whose token it is, may do.
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
        // What nobody knows is for those alone who may do everything, or read everything.
        _ if !known => Reason::UnknownOperation,
        Access::ReadOnly => Reason::ReadOnly,
        Access::Scopes(scopes) if has(scopes) => Reason::Allowed,
        Access::Scopes(_) => Reason::Scope,
        Access::Role(narrowed) => match owner {
            Some(owner) if !may(policy, owner, method, path, &needed) => Reason::Role,
            Some(_) if narrowed.as_ref().is_none_or(has) => Reason::Allowed,
            Some(_) => Reason::Scope,
            // A role that nobody has allows nothing.
            None => Reason::Role,
        },
    };
    Judgement { reason, operation, needed }
}

/// The scopes that a request needs: whether that is known at all, and by which operation.
fn needed(
    policy: Policy,
    method: &str,
    path: &Path<'_>,
) -> (bool, Option<&'static str>, Cow<'static, [Scope]>) {
    const UNKNOWN: (bool, Option<&str>, Cow<'static, [Scope]>) = (false, None, Cow::Borrowed(&[]));
    match policy {
        Policy::PagerDuty => match operations::find(method, path) {
            // An operation that needed nothing would be anybody's.
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

/// Whether a user's role, or the request's being about the user himself, allows it.
fn may(policy: Policy, owner: &Owner, method: &str, path: &Path<'_>, needed: &[Scope]) -> bool {
    needed.iter().all(|scope| owner.role.holds(scope))
        // Paths of the documented API: what the same words mean to another API, only its roles can say.
        || (policy == Policy::PagerDuty
            && ((owner.role == Role::LimitedUser && is_override(path)) || is_about_oneself(owner, method, path)))
}

/// Responders make overrides of schedules, and nothing else of schedules.
fn is_override(path: &Path<'_>) -> bool {
    let mut segments = path.segments();
    segments.next() == Some("schedules") && segments.nth(1) == Some("overrides")
}

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
            name: "somebody".to_owned(),
            role,
            external_id: None,
            has_left: false,
        }
    }

    fn as_role(role: Role, method: &str, path: &str) -> Reason {
        judged(Policy::PagerDuty, &Access::Role(None), Some(&owner(role)), method, path)
    }

    #[test]
    fn a_read_only_key_reads_whatever_the_scope_and_writes_nothing() {
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
    fn a_responder_makes_overrides_and_nothing_else_of_schedules() {
        assert_eq!(as_role(Role::LimitedUser, "POST", "/schedules/P1/overrides"), Reason::Allowed);
        assert_eq!(as_role(Role::LimitedUser, "DELETE", "/schedules/P1/overrides/P2"), Reason::Allowed);
        assert_eq!(as_role(Role::LimitedUser, "PUT", "/schedules/P1"), Reason::Role);
        assert_eq!(as_role(Role::Observer, "POST", "/schedules/P1/overrides"), Reason::Role);
    }

    #[test]
    fn everybody_sees_and_keeps_the_own_user_and_nobody_elses() {
        for role in [Role::RestrictedAccess, Role::ReadOnlyLimitedUser, Role::Observer] {
            assert_eq!(as_role(role, "GET", "/users/me"), Reason::Allowed, "{role}");
            assert_eq!(as_role(role, "GET", "/users/U00000001"), Reason::Allowed, "{role}");
            assert_eq!(as_role(role, "POST", "/users/U00000001/contact_methods"), Reason::Allowed, "{role}");
            assert_eq!(as_role(role, "PUT", "/users/U00000001"), Reason::Role, "{role}");
            assert_eq!(as_role(role, "GET", "/users/U00000001/sessions"), Reason::Role, "{role}");
            assert_eq!(as_role(role, "POST", "/users/U00000002/contact_methods"), Reason::Role, "{role}");
        }
        let noted = Owner { external_id: Some("PXYZ".to_owned()), ..owner(Role::RestrictedAccess) };
        let judged = |path| judged(Policy::PagerDuty, &Access::Role(None), Some(&noted), "GET", path);
        assert_eq!(judged("/users/PXYZ"), Reason::Allowed);
        assert_eq!(judged("/users/pxyz"), Reason::Role, "exact bytes");
        assert_eq!(judged("/users/U00000001"), Reason::Role, "the noted id takes the place of the one here");
    }

    #[test]
    fn a_token_with_scopes_has_those_of_the_role_alone() {
        let narrowed = Access::Role(Some("incidents.read incidents.write".parse().unwrap()));
        let as_role =
            |role, method, path| judged(Policy::PagerDuty, &narrowed, Some(&owner(role)), method, path);
        assert_eq!(as_role(Role::Owner, "POST", "/incidents"), Reason::Allowed);
        assert_eq!(as_role(Role::Owner, "GET", "/services"), Reason::Scope);
        assert_eq!(as_role(Role::Owner, "GET", "/nowhere"), Reason::UnknownOperation);
        assert_eq!(as_role(Role::Observer, "POST", "/incidents"), Reason::Role, "the role was taken away");
    }

    #[test]
    fn what_is_about_oneself_is_known_of_the_documented_api_alone() {
        for path in ["/users/U00000001/contact_methods/any/deeper", "/users/me", "/schedules/1/overrides"] {
            for role in [Role::RestrictedAccess, Role::LimitedUser] {
                let judged =
                    judged(Policy::Convention, &Access::Role(None), Some(&owner(role)), "POST", path);
                assert_eq!(judged, Reason::Role, "{role} {path}");
            }
        }
    }

    #[test]
    fn by_convention_the_first_segment_is_the_resource() {
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
