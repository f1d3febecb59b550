//! The permission table, and the one function that reads it.

use super::action::Action;
use crate::model::{Audited, Id, Noun, Resource, Role, ScopeSet, User};

/// One cell of the table: the condition under which a role may perform an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Always allowed.
    Y,
    /// Never allowed.
    N,
    /// Allowed if the target belongs to the acting user, or is that user.
    Own,
    /// Allowed as for `Own`, and if the target belongs to a user who is neither owner nor admin.
    Junior,
    /// Allowed unless the target is the Account Owner, or would be granted a role above admin.
    Below,
    /// Allowed if the role holds every scope of the target.
    Holds,
    /// Allowed unless the target brings user tokens into the account.
    NoTokens,
}

impl Action {
    /// Returns the row of the permission table for this action. The columns are the roles in the order of
    /// [`Role::ALL`].
    #[rustfmt::skip]
    #[expect(clippy::match_same_arms, reason = "an arm is a row of the table, and rows may be alike")]
    const fn rules(self) -> [Rule; Role::ALL.len()] {
        use Rule::{Below, Holds, Junior, N, NoTokens, Own, Y};
        match self {
            //                            owner   admin     user   limited_ obser-  restri- read_only_ read_only_
            //                                             (Manager)  user   ver     cted      user  limited_user
            Self::CreateGeneralKey
            | Self::DisableGeneralKey
            | Self::EnableGeneralKey
            | Self::EditGeneralKey
            | Self::RotateGeneralKey
            | Self::RemoveGeneralKey
            | Self::ListGeneralKeys
            | Self::ShowGeneralKey     => [Y,      Y,        N,      N,      N,      N,      N,      N],

            Self::CreateUserToken      => [Own,    Own,      Own,    Own,    Own,    Own,    Own,    N],
            Self::ListUserTokens
            | Self::ShowUserToken      => [Y,      Y,        Own,    Own,    Own,    Own,    Own,    Own],
            Self::RotateUserToken
            | Self::EditUserToken      => [Own,    Own,      Own,    Own,    Own,    Own,    Own,    Own],
            Self::RemoveUserToken      => [Junior, Junior,   Own,    Own,    Own,    Own,    Own,    Own],

            Self::CreateService
            | Self::EditService
            | Self::RemoveService
            | Self::CreateOrchestration
            | Self::EditOrchestration
            | Self::RemoveOrchestration
            | Self::CreateIntegration
            | Self::MoveIntegration
            | Self::RemoveIntegration
            | Self::ShowIntegrationKey => [Y,      Y,        Y,      N,      N,      N,      N,      N],
            Self::ListServices
            | Self::ShowService
            | Self::ListOrchestrations
            | Self::ShowOrchestration
            | Self::ListIntegrations
            | Self::ShowIntegration    => [Y,      Y,        Y,      Y,      Y,      N,      Y,      N],

            Self::ListApps
            | Self::ShowApp
            | Self::RegisterApp
            | Self::EditApp
            | Self::RotateApp
            | Self::RemoveApp
            | Self::IssueAppToken      => [Y,      Y,        Holds,  N,      N,      N,      N,      N],

            Self::ListUsers
            | Self::ShowUser           => [Y,      Y,        Y,      Y,      Y,      Own,    Y,      Own],
            Self::AddUser
            | Self::EditUser
            | Self::SetUserRole
            | Self::RemoveUser         => [Y,      Below,    N,      N,      N,      N,      N,      N],

            Self::ShowAccount          => [Y,      Y,        Y,      Y,      Y,      Y,      Y,      Y],
            Self::ChangeAccount
            | Self::TransferAccount
            | Self::ActAsUser          => [Y,      N,        N,      N,      N,      N,      N,      N],

            Self::SeeUsage             => [Y,      Y,        Own,    Own,    Own,    Own,    Own,    Own],
            Self::SeeIntegrationUsage  => [Y,      Y,        Y,      N,      N,      N,      N,      N],
            Self::ReadAudit
            | Self::VerifyAudit
            | Self::RunDoctor
            | Self::BackUp
            | Self::Export             => [Y,      Y,        N,      N,      N,      N,      N,      N],
            Self::Import               => [Y,      NoTokens, N,      N,      N,      N,      N,      N],
            // No role may do these: founding an account and revoking a single app token have permits of their own
            // (`Permit::founder`, `Permit::holder`).
            Self::FoundAccount
            | Self::RevokeAppToken     => [N,      N,        N,      N,      N,      N,      N,      N],
            Self::Restore              => [Y,      N,        N,      N,      N,      N,      N,      N],
        }
    }
}

/// The target of an action, described as far as the table needs it.
#[derive(Clone, Debug)]
pub struct Target {
    resource: Resource,
    owner: Option<(Id, Role)>,
    grants: Option<Role>,
    scopes: Option<ScopeSet>,
    brings_user_tokens: bool,
    /// Whether this stands for every resource of a noun, before a particular one has been read. A rule that needs a
    /// detail of the target denies if a particular target lacks it, and allows if `any` is set.
    any: bool,
}

impl Target {
    /// Describes a resource that belongs to the account.
    #[must_use]
    pub fn of<T: Audited>(resource: &T) -> Self {
        Self {
            resource: resource.resource(),
            owner: None,
            grants: None,
            scopes: None,
            brings_user_tokens: false,
            any: false,
        }
    }

    /// Describes every resource of a noun together, as a list does.
    #[must_use]
    pub fn all(noun: Noun) -> Self {
        let resource = Resource {
            id: String::new(),
            kind: noun.resource_type().to_owned(),
            summary: format!("every {noun}"),
        };
        Self { resource, owner: None, grants: None, scopes: None, brings_user_tokens: false, any: true }
    }

    /// Adds the user whom the target belongs to, or who is the target.
    #[must_use]
    pub fn belonging_to(self, user: &User) -> Self {
        Self { owner: Some((user.id, user.role)), ..self }
    }

    /// Adds the role that the action would grant to a user.
    #[must_use]
    pub fn granting(self, role: Role) -> Self {
        Self { grants: Some(role), ..self }
    }

    /// Adds the scopes that the target has, or that the action would grant.
    #[must_use]
    pub fn with_scopes(self, scopes: &ScopeSet) -> Self {
        Self { scopes: Some(scopes.clone()), ..self }
    }

    /// Adds that the action would bring user tokens into the account.
    #[must_use]
    pub fn bringing_user_tokens(self) -> Self {
        Self { brings_user_tokens: true, ..self }
    }

    /// Returns the id of the resource; empty for [`Target::all`].
    pub(super) fn id(&self) -> &str {
        &self.resource.id
    }
}

/// The answer of the permission table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The user may perform the action.
    Allowed,
    /// The user may not; with the condition that is not met, unless the role alone forbids it.
    Denied(Option<String>),
}

/// Looks up whether a user may perform an action on a target.
#[must_use]
pub fn decide(user: &User, action: Action, target: &Target) -> Decision {
    let denied = |why: &str| Decision::Denied(Some(why.to_owned()));
    let own = target.owner.is_some_and(|(id, _)| id == user.id);
    match action.rules()[user.role as usize] {
        Rule::N => Decision::Denied(None),
        Rule::Own if own => Decision::Allowed,
        Rule::Own => denied("only their own"),
        Rule::Junior if own || target.owner.is_some_and(|(_, role)| !role.is_senior()) => Decision::Allowed,
        Rule::Junior => denied("not those of the owner or an admin"),
        Rule::Below if target.owner.is_some_and(|(_, role)| role == Role::Owner) => {
            denied("not the Account Owner")
        }
        Rule::Below if target.grants == Some(Role::Owner) => denied("not to a role above admin"),
        Rule::Below if target.owner.is_none() && target.grants.is_none() && !target.any => {
            denied("the user is unknown")
        }
        Rule::Holds if target.scopes.is_none() && !target.any => denied("the scopes are unknown"),
        Rule::Holds => {
            let lacking = target.scopes.iter().flat_map(ScopeSet::iter).find(|scope| !user.role.holds(scope));
            lacking.map_or(Decision::Allowed, |scope| {
                Decision::Denied(Some(format!("the role does not hold {scope}")))
            })
        }
        Rule::NoTokens if target.brings_user_tokens => denied("not user tokens"),
        Rule::Y | Rule::Below | Rule::NoTokens => Decision::Allowed,
    }
}
