//! Users: add, list, show, edit and mark as left.

use std::ops::ControlFlow;

use super::resolve;
use super::session::Session;
use super::write_context::{WriteContext, each_once};
use crate::authz::{Acting, Action, Decision, Target, decide, require};
use crate::error::{Conflict, Error, Result};
use crate::model::{Audited as _, Change, Id, Label, Name, Noun, RateLimit, Role, User, UserEdit};
use crate::store::{ReadTx, Store, UserQuery, Visit, WriteTx};

/// A user to add.
#[derive(Clone, Debug)]
pub struct UserSpec {
    /// The name.
    pub name: Name,
    /// The role; any except owner, which is given by a transfer of the account.
    pub role: Role,
    /// The e-mail address.
    pub email: Option<Label>,
    /// The uid of the operating-system user that is mapped to this user.
    pub os_uid: Option<u32>,
    /// The user's id in the API behind the gateway.
    pub external_id: Option<Label>,
    /// The rate limit that all tokens of the user share, or `None` for the default.
    pub rate_limit: Option<RateLimit>,
}

impl<S: Store> Session<'_, S> {
    /// Adds a user.
    ///
    /// # Errors
    /// If the acting user is not permitted, or the name, the operating-system user or the external id is taken.
    pub fn add_user(&mut self, spec: UserSpec) -> Result<User> {
        self.write(|context| {
            let target = Target::all(Noun::User).granting(spec.role);
            context.require(Action::AddUser, &target)?;
            if spec.role == Role::Owner {
                return Err(one_owner());
            }
            let user = User {
                id: context.fresh_id(Noun::User)?,
                name: spec.name,
                email: spec.email,
                role: spec.role,
                os_uid: spec.os_uid,
                external_id: spec.external_id,
                rate_limit: spec.rate_limit,
                created_at: context.at(),
                left_at: None,
                left_reason: None,
            };
            context.refuse_taken(None, &user)?;
            let permit = context.authorize(Action::AddUser, &Target::of(&user).granting(user.role))?;
            context.tx.save_user(permit, &Change::Create(user.clone()))?;
            Ok(user)
        })
    }

    /// Visits the users that the acting user is permitted to see, oldest first. These are all users, or only the acting
    /// user.
    ///
    /// # Errors
    /// If the store cannot be read, or `visit` returns an error.
    pub fn list_users(&mut self, visit: Visit<'_, User>) -> Result<()> {
        self.read(|tx, acting| {
            tx.users(&UserQuery::default(), &mut |user| {
                let target = Target::of(&user).belonging_to(&user);
                match decide(acting.user(), Action::ListUsers, &target) {
                    Decision::Allowed => visit(user),
                    Decision::Denied(_) => Ok(ControlFlow::Continue(())),
                }
            })
        })
    }

    /// Returns a user by id or name.
    ///
    /// # Errors
    /// If the acting user is not permitted, or the user does not exist.
    pub fn user(&mut self, reference: &str) -> Result<User> {
        self.read(|tx, acting| resolve::seen_user(tx, acting, reference))
    }

    /// Changes a user.
    ///
    /// # Errors
    /// If the acting user is not permitted, the user does not exist or has left, or a unique property is taken.
    pub fn edit_user(&mut self, reference: &str, edit: UserEdit) -> Result<User> {
        self.write(|context| {
            let action = if edit.role.is_some() { Action::SetUserRole } else { Action::EditUser };
            let before = present_user(context.tx.reading(), context.acting, reference, action)?;
            let after = edit.apply(&before);
            let target = Target::of(&before).belonging_to(&before).granting(after.role);
            let permit = context.authorize(action, &target)?;
            if before == after {
                return Ok(after);
            }
            if before.role != after.role && [before.role, after.role].contains(&Role::Owner) {
                return Err(one_owner());
            }
            context.refuse_taken(Some(&before), &after)?;
            context.tx.save_user(permit, &Change::Update { before, after: after.clone() })?;
            Ok(after)
        })
    }

    /// Marks users as left: all of them or none. Keys that they created remain valid, and their actions remain recorded.
    ///
    /// # Errors
    /// If the acting user is not permitted, a user does not exist or has left, or one is the Account Owner.
    pub fn remove_users(&mut self, references: &[String], reason: Option<&Label>) -> Result<Vec<User>> {
        self.write(|context| {
            let plan = plan_remove(context.tx.reading(), context.acting, references, reason)?;
            let remove = |change: Change<User>| {
                let user = change.subject();
                let permit = context.authorize(Action::RemoveUser, &Target::of(user).belonging_to(user))?;
                context.tx.save_user(permit, &change)?;
                Ok(user.clone())
            };
            plan.into_iter().map(remove).collect()
        })
    }

    /// Returns the users that [`Session::remove_users`] would mark as left, as they are now.
    ///
    /// # Errors
    /// As there.
    pub fn preview_remove_users(
        &mut self,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<User>> {
        self.preview(|tx, acting| plan_remove(tx, acting, references, reason))
    }
}

fn plan_remove(
    tx: &mut impl ReadTx,
    acting: &Acting,
    references: &[String],
    reason: Option<&Label>,
) -> Result<Vec<Change<User>>> {
    let users = each_once(references, |user| present_user(tx, acting, user, Action::RemoveUser))?;
    let leave = |before: User| {
        require(acting, Action::RemoveUser, &Target::of(&before).belonging_to(&before))?;
        if before.role == Role::Owner {
            return Err(Conflict::OwnerStays(before.name).into());
        }
        let after = User { left_at: Some(acting.at()), left_reason: reason.cloned(), ..before.clone() };
        Ok(Change::Update { before, after })
    };
    users.into_iter().map(leave).collect()
}

/// Finds a user who has not left, and on whom the acting user may perform `action` at all.
pub(super) fn present_user(
    tx: &mut impl ReadTx,
    acting: &Acting,
    reference: &str,
    action: Action,
) -> Result<User> {
    require(acting, action, &Target::all(Noun::User))?;
    let user = resolve::user(tx, reference)?;
    if user.has_left() {
        return Err(Conflict::Left(user.audit_summary()).into());
    }
    Ok(user)
}

fn one_owner() -> Error {
    Conflict::OneOwner.into()
}

impl<T: WriteTx> WriteContext<'_, T> {
    /// Rejects a unique property that another active user has, and a new external id that is the id of any other user.
    ///
    /// The API behind a gateway identifies a user by the external id, or by the id if there is none. With the id of another
    /// user as external id, a user would get access to what belongs to the other. An unchanged name is not rejected,
    /// because a store of an earlier version can contain several names that are equal after folding.
    fn refuse_taken(&mut self, before: Option<&User>, user: &User) -> Result<()> {
        let is_renamed = before.is_none_or(|before| before.name != user.name);
        let is_new = before.is_none_or(|before| before.external_id != user.external_id);
        let named =
            user.external_id.as_ref().filter(|_| is_new).and_then(|id| id.as_str().parse::<Id>().ok());
        let mut taken = None;
        self.tx.reading().users(&UserQuery::default(), &mut |other| {
            if other.id == user.id {
                return Ok(ControlFlow::Continue(()));
            }
            let same = |what| {
                Some(Conflict::Taken { noun: Noun::User, name: other.name.clone(), id: other.id, what })
            };
            if named == Some(other.id) {
                taken = same("id");
            } else if other.has_left() {
                return Ok(ControlFlow::Continue(()));
            } else if is_renamed && other.name.is_like(&user.name) {
                taken = same("name");
            } else if user.os_uid.is_some() && other.os_uid == user.os_uid {
                taken = same("operating-system user");
            } else if user.external_id.is_some() && other.external_id == user.external_id {
                taken = same("external id");
            }
            Ok(if taken.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        taken.map_or(Ok(()), |taken| Err(taken.into()))
    }
}
