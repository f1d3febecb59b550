//! What an operation needs, and who may: without any key.

use serde::Serialize;

use crate::model::{Access, Owner, Policy, Role, Scope};
use crate::verify::policy::is_method;
use crate::verify::{Path, Reason, judge, operations};

/// What a method and a path need under a policy.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The policy.
    pub policy: Policy,
    /// The operation of the table, if it is one.
    pub operation: Option<&'static str>,
    /// The template of the operation's path.
    pub template: Option<&'static str>,
    /// The scopes that are needed, all of them.
    pub needed: Vec<Scope>,
    /// The kinds of access of general keys that suffice: `full`, `read-only`, `scopes` with those that are needed.
    pub access: Vec<&'static str>,
    /// The roles whose user tokens suffice.
    pub roles: Vec<Role>,
    /// The roles whose user tokens suffice where it is about the user himself only.
    pub roles_for_oneself: Vec<Role>,
}

/// Explains a method and a path, or says why no request with them is ever allowed.
///
/// # Errors
/// [`Reason::AmbiguousRequest`] or [`Reason::AmbiguousPath`].
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
    // Somebody else's id is one that no path has; one's own is whatever the path names.
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
    fn an_operation_is_explained_with_everybody_who_may() {
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
