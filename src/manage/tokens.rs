//! User tokens. Users create tokens for themselves only.

use jiff::SignedDuration;

use super::resolve;
use super::session::Session;
use super::write_context::{HandOver, WriteContext, deletion, each_once};
use crate::authz::{Acting, Action, Decision, Target, decide, require};
use crate::error::{Conflict, Result};
use crate::model::{
    Ability, Change, Id, KeyState, Label, Noun, Role, Scope, ScopeSet, Secret, SecretChange, TokenEdit,
    TokenSpec, UserToken,
};
use crate::store::{ReadTx, Store, TokenQuery, Visit, WriteTx};

/// Selects the tokens to list.
#[derive(Clone, Debug, Default)]
pub enum Whose {
    /// The tokens of the acting user.
    #[default]
    Own,
    /// The tokens of one user, by name or id.
    User(String),
    /// The tokens of all users.
    All,
}

impl<S: Store> Session<'_, S> {
    /// Creates a token for the acting user and passes its secret to `hand_over`. `user` is optional, and must refer to the
    /// acting user.
    ///
    /// # Errors
    /// If the acting user is not permitted, `user` is another user, user tokens are not available to the account, the role
    /// does not hold a scope, or `hand_over` fails. No token is created then.
    pub fn create_token(
        &mut self,
        user: Option<&str>,
        spec: TokenSpec,
        hand_over: HandOver<'_, UserToken>,
    ) -> Result<UserToken> {
        self.write(|context| {
            let user = match user {
                Some(reference) => resolve::seen_user(context.tx.reading(), context.acting, reference)?,
                None => context.acting.user().clone(),
            };
            context.require(Action::CreateUserToken, &Target::all(Noun::UserToken).belonging_to(&user))?;
            let account = context.tx.account()?;
            if !account.has_user_tokens() {
                let ability = if account.rest_api { Ability::AdvancedPermissions } else { Ability::RestApi };
                return Err(Conflict::SwitchedOff(ability).into());
            }
            refuse_beyond(user.role, spec.access.scopes())?;
            let secret = Secret::user_token(context.entropy)?;
            let token = UserToken {
                id: context.fresh_id(Noun::UserToken)?,
                user,
                description: spec.description,
                hint: Some(secret.hint()),
                access: spec.access,
                created_at: context.at(),
                expires_at: spec.expires_at,
                overlap_ends_at: None,
                last_used_at: None,
            };
            let permit = context.authorize(Action::CreateUserToken, &target(&token))?;
            let issue = SecretChange::Issue(context.tx.keyring().digest(&secret.fingerprint()));
            context.tx.save(permit, &Change::Create(token.clone()), issue)?;
            context.hand_over(|| hand_over(&token, &secret))?;
            Ok(token)
        })
    }

    /// Visits tokens, oldest first.
    ///
    /// # Errors
    /// If the acting user is not permitted to see them, or `visit` returns an error.
    pub fn list_tokens(&mut self, whose: &Whose, visit: Visit<'_, UserToken>) -> Result<()> {
        self.read(|tx, acting| {
            let all = Target::all(Noun::UserToken);
            let (user, target) = match whose {
                Whose::Own => (Some(acting.user().id), all.belonging_to(acting.user())),
                Whose::User(reference) => {
                    let user = resolve::seen_user(tx, acting, reference)?;
                    (Some(user.id), all.belonging_to(&user))
                }
                Whose::All => (None, all),
            };
            require(acting, Action::ListUserTokens, &target)?;
            tx.user_tokens(&TokenQuery { user, ..TokenQuery::default() }, visit)
        })
    }

    /// Returns a token by id.
    ///
    /// # Errors
    /// If the acting user is not permitted to see it, or it does not exist.
    pub fn token(&mut self, id: &str) -> Result<UserToken> {
        self.read(|tx, acting| token(tx, acting, id, Action::ShowUserToken))
    }

    /// Changes the description or expiry of a token, or narrows its scopes.
    ///
    /// # Errors
    /// If the acting user is not permitted, the token does not exist, or its access would widen.
    pub fn edit_token(&mut self, id: &str, edit: TokenEdit) -> Result<UserToken> {
        self.write(|context| {
            let before = context.token(id, Action::EditUserToken)?;
            let after = edit.apply(&before)?;
            // Unchanged scopes that the role no longer holds are left alone: they have no effect.
            if after.access != before.access {
                refuse_beyond(before.user.role, after.access.scopes())?;
            }
            let permit = context.authorize(Action::EditUserToken, &target(&before))?;
            context.update(permit, before, after, SecretChange::Keep)
        })
    }

    /// Replaces the secret of a token and passes the new one to `hand_over`, like [`Session::rotate_key`].
    ///
    /// # Errors
    /// If the acting user is not permitted, the token does not exist or is not active, or `hand_over` fails.
    pub fn rotate_token(
        &mut self,
        id: &str,
        overlap: Option<SignedDuration>,
        hand_over: HandOver<'_, UserToken>,
    ) -> Result<UserToken> {
        self.write(|context| {
            let before = find_rotatable(&**context.tx, context.acting, id)?;
            let secret = Secret::user_token(context.entropy)?;
            let permit = context.authorize(Action::RotateUserToken, &target(&before))?;
            context.rotate(permit, before, &secret, overlap, hand_over)
        })
    }

    /// Returns the token that [`Session::rotate_token`] would rotate.
    ///
    /// # Errors
    /// As there.
    pub fn preview_rotate_token(&mut self, id: &str) -> Result<UserToken> {
        self.keyring()?;
        self.read(|tx, acting| find_rotatable(tx, acting, id))
    }

    /// Ends the overlap of a rotation: the previous secret becomes invalid.
    ///
    /// # Errors
    /// If the acting user is not permitted, the token does not exist, or it has no overlap.
    pub fn end_token_overlap(&mut self, id: &str) -> Result<UserToken> {
        self.write(|context| {
            let before = context.token(id, Action::RotateUserToken)?;
            let permit = context.authorize(Action::RotateUserToken, &target(&before))?;
            context.end_overlap(permit, before)
        })
    }

    /// Removes tokens permanently: all of them or none.
    ///
    /// # Errors
    /// If the acting user is not permitted, or a token does not exist. Tokens of the Account Owner and of admins can only be
    /// removed by themselves.
    pub fn remove_tokens(&mut self, ids: &[String], reason: Option<&Label>) -> Result<Vec<UserToken>> {
        self.write(|context| {
            let plan = plan_remove(&**context.tx, context.acting, ids, reason)?;
            context.save_all(Action::RemoveUserToken, target, plan)
        })
    }

    /// Returns the tokens that [`Session::remove_tokens`] would remove.
    ///
    /// # Errors
    /// As there.
    pub fn preview_remove_tokens(
        &mut self,
        ids: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<UserToken>> {
        self.preview(|tx, acting| plan_remove(tx, acting, ids, reason))
    }
}

fn find_rotatable(tx: &impl ReadTx, acting: &Acting, id: &str) -> Result<UserToken> {
    let token = token(tx, acting, id, Action::RotateUserToken)?;
    match token.state(acting.at()) {
        KeyState::Active => Ok(token),
        state => Err(Conflict::NotActive { noun: Noun::UserToken, id: token.id, state }.into()),
    }
}

fn plan_remove(
    tx: &impl ReadTx,
    acting: &Acting,
    ids: &[String],
    reason: Option<&Label>,
) -> Result<Vec<Change<UserToken>>> {
    let tokens = each_once(ids, |id| token(tx, acting, id, Action::RemoveUserToken))?;
    Ok(tokens.into_iter().map(|token| deletion(token, reason)).collect())
}

fn target(token: &UserToken) -> Target {
    Target::of(token).belonging_to(&token.user)
}

/// Rejects scopes that a role does not hold. The token could never use them, and listing them would be misleading.
pub(super) fn refuse_beyond(role: Role, scopes: Option<&ScopeSet>) -> Result<()> {
    let beyond: Vec<_> = scopes
        .into_iter()
        .flat_map(ScopeSet::iter)
        .filter(|scope| !role.holds(scope))
        .map(Scope::as_str)
        .collect();
    if beyond.is_empty() {
        return Ok(());
    }
    Err(Conflict::BeyondRole { role, scopes: beyond.join(", ") }.into())
}

/// Returns a token if the acting user is permitted to do `action` to it. A token that the user may not see is not found.
pub(super) fn token(tx: &impl ReadTx, acting: &Acting, typed: &str, action: Action) -> Result<UserToken> {
    let seen =
        |token: &UserToken| decide(acting.user(), Action::ShowUserToken, &target(token)) == Decision::Allowed;
    let found = match typed.parse::<Id>() {
        Ok(id) if id.noun() == Noun::UserToken => tx.user_token(id)?.filter(seen),
        _ => None,
    };
    if let Some(token) = found {
        require(acting, action, &target(&token))?;
        return Ok(token);
    }
    let mut near = Vec::new();
    for id in Id::neighbours(Noun::UserToken, typed) {
        near.extend(tx.user_token(id)?.filter(seen).map(|token| token.id.to_string()));
    }
    Err(resolve::not_found(Noun::UserToken, typed, near))
}

impl<T: WriteTx> WriteContext<'_, T> {
    fn token(&self, typed: &str, action: Action) -> Result<UserToken> {
        token(&**self.tx, self.acting, typed, action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_limited_to_scopes_of_the_role() {
        let scopes = |text: &str| text.parse::<ScopeSet>().unwrap();
        assert!(refuse_beyond(Role::Observer, Some(&scopes("incidents.read services.read"))).is_ok());
        let refused =
            refuse_beyond(Role::Observer, Some(&scopes("incidents.read incidents.write"))).unwrap_err();
        assert_eq!(refused.to_string(), "the role observer does not hold incidents.write");
        assert!(refuse_beyond(Role::ReadOnlyUser, None).is_ok());
    }
}
