//! The identity of the caller, and how it determines the acting user.

use jiff::Timestamp;

use super::resolve;
use crate::authz::{Acting, Action, Target, require};
use crate::error::{Error, ErrorKind, Result, TokenRefusal, Unidentified};
use crate::model::{Access, CredentialKind, Digest, Hint, Id, KeyState, Noun, Secret, User};
use crate::store::{DigestOwner, ReadTx, Store, UserBy};

/// The means by which the acting user is identified.
#[derive(Debug)]
pub enum Identity {
    /// The uid of an operating-system user, as reported by the kernel.
    OsUser(u32),
    /// A user token. If it is refused, no other means is tried.
    Token(Secret),
}

/// An identity in the form in which it is looked up in the store.
pub(super) enum Claim {
    OsUser(u32),
    Token { digest: Digest, hint: Hint },
}

impl Claim {
    pub(super) fn of(identity: &Identity, store: &mut impl Store) -> Result<Self> {
        match identity {
            Identity::OsUser(uid) => Ok(Self::OsUser(*uid)),
            Identity::Token(token) if token.is_empty() => Err(refuse(TokenRefusal::Empty)),
            Identity::Token(token) if token.kind() != Some(CredentialKind::UserToken) => {
                Err(refuse(TokenRefusal::WrongShape))
            }
            Identity::Token(token) => {
                let digest = store.keyring()?.digest(&token.fingerprint());
                Ok(Self::Token { digest, hint: token.hint() })
            }
        }
    }

    pub(super) fn acting(
        &self,
        tx: &mut impl ReadTx,
        on_behalf_of: Option<&str>,
        request_id: &str,
        at: Timestamp,
    ) -> Result<Acting> {
        let acting = match self {
            Self::OsUser(uid) => {
                let unmapped = ErrorKind::Unidentified(Unidentified::NoMapping { uid: *uid });
                Acting::os_user(tx.user(UserBy::OsUser(*uid))?.ok_or(unmapped)?, request_id.to_owned(), at)
            }
            Self::Token { digest, hint } => {
                Acting::api_token(owner_of(tx, digest, at)?, Some(hint), request_id.to_owned(), at)
            }
        };
        let Some(reference) = on_behalf_of else { return Ok(acting) };
        // Checked before the other user is looked up, so that the result does not reveal which users exist.
        require(&acting, Action::ActAsUser, &Target::all(Noun::Account))?;
        let other = present_user(tx, reference)?;
        Ok(acting.on_behalf_of(other)?)
    }
}

fn refuse(why: TokenRefusal) -> Error {
    ErrorKind::Unidentified(Unidentified::Token(why)).into()
}

/// Returns the user of a token, or an error if the token is not accepted.
fn owner_of(tx: &impl ReadTx, digest: &Digest, at: Timestamp) -> Result<User> {
    let id = match tx.digest_owner(digest)? {
        None => return Err(refuse(TokenRefusal::Unknown)),
        Some(DigestOwner::Dead(_)) => return Err(refuse(TokenRefusal::Dead)),
        Some(DigestOwner::Live { ends_at: Some(end), .. }) if end <= at => {
            return Err(refuse(TokenRefusal::Dead));
        }
        Some(DigestOwner::Live { id, .. }) => id,
    };
    let token = tx.user_token(id)?.ok_or_else(|| refuse(TokenRefusal::Unknown))?;
    match token.state(at) {
        KeyState::Disabled => return Err(refuse(TokenRefusal::UserLeft)),
        KeyState::Expired => return Err(refuse(TokenRefusal::Expired)),
        KeyState::Active => {}
    }
    if token.access != Access::Role(None) {
        return Err(refuse(TokenRefusal::Narrowed));
    }
    if !tx.account()?.has_user_tokens() {
        return Err(refuse(TokenRefusal::NoAbility));
    }
    Ok(token.user)
}

fn present_user(tx: &mut impl ReadTx, reference: &str) -> Result<User> {
    let found = match reference.parse::<Id>() {
        Ok(id) if id.noun() == Noun::User => tx.user(UserBy::Id(id))?,
        _ => resolve::user_named(tx, reference)?,
    };
    match found {
        Some(user) if user.has_left() => {
            Err(ErrorKind::from(Unidentified::Left(user.name.to_string())).into())
        }
        Some(user) => Ok(user),
        None => {
            let reference = resolve::safe_to_show(reference);
            Err(ErrorKind::from(Unidentified::NobodyToActAs(reference)).into())
        }
    }
}
