//! Users: add, list, show, edit, and mark as left.

use std::ops::ControlFlow;

use super::resolve;
use super::session::Session;
use super::write_context::WriteContext;
use crate::authz::{Action, Decision, Target, decide};
use crate::error::{Conflict, Error, Result};
use crate::model::{Audited as _, Change, Id, Label, Name, Noun, RateLimit, Role, User, UserEdit};
use crate::store::{ReadTx, Store, UserQuery, Visit, WriteTx};

/// A user to be added.
#[derive(Clone, Debug)]
pub struct UserSpec {
    /// The name.
    pub name: Name,
    /// The role; any but owner, which is given by a transfer of the account.
    pub role: Role,
    /// The e-mail address.
    pub email: Option<Label>,
    /// The operating-system user who acts as this user.
    pub os_uid: Option<u32>,
    /// The user's id in the API behind.
    pub external_id: Option<Label>,
    /// The limit that the user's tokens share, where it is not to be the documented one.
    pub rate_limit: Option<RateLimit>,
}

impl<S: Store> Session<'_, S> {
    /// Adds a user.
    ///
    /// # Errors
    /// If the acting user may not, or the name, the operating-system user or the external id is taken.
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

    /// Shows the users, in the order in which they were added: all, or to those who may see only themselves,
    /// themselves.
    ///
    /// # Errors
    /// Whatever `visit` returns.
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

    /// One user, by id or name.
    ///
    /// # Errors
    /// If the acting user may not, or there is none.
    pub fn user(&mut self, reference: &str) -> Result<User> {
        self.read(|tx, acting| resolve::seen_user(tx, acting, reference))
    }

    /// Changes a user.
    ///
    /// # Errors
    /// If the acting user may not, there is none, the user has left, or something is taken.
    pub fn edit_user(&mut self, reference: &str, edit: UserEdit) -> Result<User> {
        self.write(|context| {
            let action = if edit.role.is_some() { Action::SetUserRole } else { Action::EditUser };
            let before = context.present_user(reference, action)?;
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

    /// Marks users as left, all or none. What they made goes on; what they did stays recorded.
    ///
    /// # Errors
    /// If the acting user may not, there is none, or it is the Account Owner.
    pub fn remove_users(&mut self, references: &[String], reason: Option<&Label>) -> Result<Vec<User>> {
        self.write(|context| {
            let users = context
                .each_once(references, |context, user| context.present_user(user, Action::RemoveUser))?;
            users
                .into_iter()
                .map(|before| {
                    let target = Target::of(&before).belonging_to(&before);
                    let permit = context.authorize(Action::RemoveUser, &target)?;
                    if before.role == Role::Owner {
                        return Err(Conflict::OwnerStays(before.name).into());
                    }
                    let after =
                        User { left_at: Some(context.at()), left_reason: reason.cloned(), ..before.clone() };
                    context.tx.save_user(permit, &Change::Update { before, after: after.clone() })?;
                    Ok(after)
                })
                .collect()
        })
    }
}

fn one_owner() -> Error {
    Conflict::OneOwner.into()
}

impl<T: WriteTx> WriteContext<'_, T> {
    /// A user who has not left, and to whom the acting user may do this at all.
    pub(super) fn present_user(&mut self, reference: &str, action: Action) -> Result<User> {
        self.require(action, &Target::all(Noun::User))?;
        let user = resolve::user(self.tx.reading(), reference)?;
        if user.has_left() {
            return Err(Conflict::Left(user.audit_summary()).into());
        }
        Ok(user)
    }

    /// Refuses what another present user has already and only one can have; and a new external id that is the id of
    /// another, present or not. To the API behind, a user is the external id, and the id where there is none: with
    /// another's id, the user would be let through to what belongs to the other. A name that stays was taken before: a
    /// store of an earlier version can have several that are alike.
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
