//! Explains what a request needs, and which keys and roles suffice, without a key.

use serde::Serialize;

use crate::model::{Access, Owner, Policy, Role, Scope};
use crate::verify::policy::is_method;
use crate::verify::{Path, Reason, judge, operations};

/// The requirements of a method and a path under a policy.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The policy that was applied.
    pub policy: Policy,
    /// The operation in the table of the API, if one matches.
    pub operation: Option<&'static str>,
    /// The path template of that operation.
    pub template: Option<&'static str>,
    /// The scopes that are needed. A credential must have all of them.
    pub needed: Vec<Scope>,
    /// The kinds of access with which a general key suffices: `full`, `read-only`, and `scopes`, given those that are
    /// needed.
    pub access: Vec<&'static str>,
    /// The roles whose user tokens suffice.
    pub roles: Vec<Role>,
    /// The roles whose user tokens suffice only for requests about the user who owns the token.
    pub roles_for_oneself: Vec<Role>,
}

/// Explains what a method and a path need.
///
/// # Errors
/// [`Reason::AmbiguousRequest`] or [`Reason::AmbiguousPath`] if no such request is ever allowed.
pub fn explain(policy: Policy, method: &str, path: &[u8]) -> Result<Explanation, Reason> {
    if !is_method(method) {
        return Err(Reason::AmbiguousRequest);
    }
    let path = Path::parse(path).ok_or(Reason::AmbiguousPath)?;
    let judged = judge(policy, &Access::Full, None, method, &path);
    let allows = |access: &Access, owner: Option<&Owner>| {
        judge(policy, access, owner, method, &path).reason == Reason::Allowed
    };
    let of_role = |role: Role, external_id: &str| {
        let owner = Owner {
            id: crate::model::Id::nobody(),
            name: String::new(),
            role,
            external_id: Some(external_id.to_owned()),
            has_left: false,
        };
        allows(&Access::Role(None), Some(&owner))
    };
    let of_general_keys = [
        ("full", Access::Full),
        ("read-only", Access::ReadOnly),
        ("scopes", Access::Scopes(judged.needed.iter().cloned().collect())),
    ];
    // No path has an empty id, so that the request is about another user; with the id in the path, it is about the owner.
    let own_id = path.segments().nth(1).unwrap_or_default();
    let roles: Vec<_> = Role::ALL.into_iter().filter(|role| of_role(*role, "")).collect();
    Ok(Explanation {
        policy,
        operation: judged.operation,
        template: judged
            .operation
            .and_then(|id| operations().iter().find(|operation| operation.id == id))
            .map(|operation| operation.template),
        access: of_general_keys
            .iter()
            .filter(|(_, access)| allows(access, None))
            .map(|(name, _)| *name)
            .collect(),
        roles_for_oneself: Role::ALL
            .into_iter()
            .filter(|role| !roles.contains(role) && of_role(*role, own_id))
            .collect(),
        roles,
        needed: judged.needed.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_lists_the_access_and_the_roles_that_suffice() {
        let explained = explain(Policy::PagerDuty, "POST", b"/incidents").unwrap();
        assert_eq!((explained.operation, explained.template), (Some("createIncident"), Some("/incidents")));
        assert_eq!(explained.access, ["full", "scopes"]);
        assert_eq!(explained.roles, [Role::Owner, Role::Admin, Role::User, Role::LimitedUser]);
        let explained = explain(Policy::PagerDuty, "GET", b"/users/P1").unwrap();
        assert_eq!(explained.roles_for_oneself, [Role::RestrictedAccess, Role::ReadOnlyLimitedUser]);
        assert_eq!(explain(Policy::PagerDuty, "get", b"/users").unwrap_err(), Reason::AmbiguousRequest);
        assert_eq!(explain(Policy::PagerDuty, "GET", b"/users/").unwrap_err(), Reason::AmbiguousPath);
    }
}
