//! A session: a store, on whose behalf, and when.

use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, ErrorKind, Result, TokenRefusal, Unidentified};
use crate::model::{
    Acting, Action, App, Audited, Change, CredentialKind, Digest, GeneralKey, Head, Hint, Id, Integration,
    KeyState, Keyring, Label, Noun, Permit, Secret, SecretChange, Target, User, UserToken, authorize,
    require,
};
use crate::ports::{Clock, Entropy};
use crate::store::{Chain, Holder, Read, Store, Write};

/// How the acting user makes himself known.
#[derive(Debug)]
pub enum Identity {
    /// As an operating-system user, which the caller asked the kernel for.
    OsUser(u32),
    /// By a user token. It is accepted or refused, and nothing else is tried instead.
    Token(Secret),
}

/// What one acting user does with a store, at one moment.
///
/// Each method is one transaction. The acting user is looked up in that same transaction, so that a role taken
/// away a moment ago is gone.
pub struct Session<'s, S: Store> {
    store: &'s mut S,
    entropy: &'s mut dyn Entropy,
    identity: Identity,
    on_behalf_of: Option<String>,
    request_id: String,
    at: Timestamp,
    rehearses: bool,
}

impl<'s, S: Store> Session<'s, S> {
    /// Begins a session. The time is taken from the clock here, once.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn begin(
        store: &'s mut S,
        identity: Identity,
        clock: &dyn Clock,
        entropy: &'s mut dyn Entropy,
    ) -> Result<Self> {
        let mut random = [0; 8];
        entropy.fill(&mut random)?;
        let request_id = format!("{:016x}", u64::from_be_bytes(random));
        Ok(Self {
            store,
            entropy,
            identity,
            on_behalf_of: None,
            request_id,
            at: clock.now(),
            rehearses: false,
        })
    }

    /// The same session on behalf of another user, by name or id; the Account Owner alone may.
    #[must_use]
    pub fn on_behalf_of(self, user: impl Into<String>) -> Self {
        Self { on_behalf_of: Some(user.into()), ..self }
    }

    /// The session's moment.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Does what `work` does, and takes it back: everything is asked and checked that would be, nothing is changed,
    /// and what comes of it is what would. For asking somebody only about what can be done.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn rehearse<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let rehearsed = std::mem::replace(&mut self.rehearses, true);
        let done = work(self);
        self.rehearses = rehearsed;
        done
    }

    /// The acting user.
    ///
    /// # Errors
    /// [`ErrorKind::Unidentified`] if there is none.
    pub fn whoami(&mut self) -> Result<Acting> {
        self.read(|_, acting| Ok(acting.clone()))
    }

    /// Reads one moment of the store.
    pub(super) fn read<T>(&mut self, work: impl FnOnce(&S::Snapshot<'_>, &Acting) -> Result<T>) -> Result<T> {
        let claim = Claim::of(&self.identity, self.store)?;
        let tx = self.store.read()?;
        let acting = claim.acting(&tx, self.on_behalf_of.as_deref(), &self.request_id, self.at)?;
        work(&tx, &acting)
    }

    /// Does one piece of work in a transaction of its own, and commits it, unless it is a rehearsal.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Work<'_, S::Transaction<'_>>) -> Result<T>,
    ) -> Result<T> {
        let claim = Claim::of(&self.identity, self.store)?;
        let mut tx = self.store.write()?;
        let acting = claim.acting(&tx, self.on_behalf_of.as_deref(), &self.request_id, self.at)?;
        let mut desk = Work { tx: &mut tx, acting: &acting, entropy: self.entropy, handed_over: false };
        let done = work(&mut desk)?;
        let handed_over = desk.handed_over;
        if self.rehearses {
            // Dropped without a commit, a transaction is undone.
            return Ok(done);
        }
        match tx.commit() {
            Ok(()) => Ok(done),
            Err(error) if handed_over => Err(ErrorKind::Void(error).into()),
            Err(error) => Err(error),
        }
    }

    /// What is wrong with the store key, if anything: reading works without it, but integration keys do not show.
    pub fn store_key_fault(&mut self) -> Option<Error> {
        self.store.keyring().err()
    }

    /// The keys derived from the store key, for what is shown after a read.
    pub(super) fn keyring(&mut self) -> Result<Keyring> {
        self.store.keyring()
    }

    /// Computes the audit chain anew.
    pub(super) fn verify_chain(&mut self, kept: Option<Head>) -> Result<Chain> {
        self.store.verify_audit(kept)
    }
}

/// Who somebody says to be, as far as that can be known before the store is read.
enum Claim {
    OsUser(u32),
    Token { digest: Digest, hint: Hint },
}

impl Claim {
    fn of(identity: &Identity, store: &mut impl Store) -> Result<Self> {
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

    fn acting(
        &self,
        tx: &impl Read,
        on_behalf_of: Option<&str>,
        request_id: &str,
        at: Timestamp,
    ) -> Result<Acting> {
        let acting = match self {
            Self::OsUser(uid) => {
                let unmapped = ErrorKind::Unidentified(Unidentified::NoMapping { uid: *uid });
                Acting::os_user(tx.user_of_uid(*uid)?.ok_or(unmapped)?, request_id.to_owned(), at)
            }
            Self::Token { digest, hint } => {
                Acting::api_token(owner_of(tx, digest, at)?, Some(hint), request_id.to_owned(), at)
            }
        };
        let Some(reference) = on_behalf_of else { return Ok(acting) };
        // Asked before the other is looked for, lest the answer tell who is there.
        require(&acting, Action::ActAsUser, &Target::all(Noun::Account))?;
        let other = present_user(tx, reference)?;
        acting.on_behalf_of(other)
    }
}

fn refuse(why: TokenRefusal) -> Error {
    ErrorKind::Unidentified(Unidentified::Token(why)).into()
}

/// Whose token it is, if it is one that works.
fn owner_of(tx: &impl Read, digest: &Digest, at: Timestamp) -> Result<User> {
    let id = match tx.holder(digest)? {
        None => return Err(refuse(TokenRefusal::Unknown)),
        Some(Holder::Dead(_)) => return Err(refuse(TokenRefusal::Dead)),
        Some(Holder::Live { ends_at: Some(end), .. }) if end <= at => return Err(refuse(TokenRefusal::Dead)),
        Some(Holder::Live { id, .. }) => id,
    };
    let token = tx.user_token(id)?.ok_or_else(|| refuse(TokenRefusal::Unknown))?;
    match token.state(at) {
        KeyState::Disabled => return Err(refuse(TokenRefusal::UserLeft)),
        KeyState::Expired => return Err(refuse(TokenRefusal::Expired)),
        KeyState::Active => {}
    }
    if !tx.account()?.has_user_tokens() {
        return Err(refuse(TokenRefusal::NoAbility));
    }
    Ok(token.user)
}

fn present_user(tx: &impl Read, reference: &str) -> Result<User> {
    let found = match reference.parse::<Id>() {
        Ok(id) if id.noun() == Noun::User => tx.user(id)?,
        _ => tx.user_named(reference)?,
    };
    match found {
        Some(user) if user.has_left() => {
            Err(ErrorKind::from(Unidentified::Left(user.name.to_string())).into())
        }
        Some(user) => Ok(user),
        None => {
            let reference = super::find::safe_to_show(reference);
            Err(ErrorKind::from(Unidentified::NobodyToActAs(reference)).into())
        }
    }
}

/// A noun whose changes are saved with a permit.
pub(super) trait Saved: Audited + Clone + PartialEq {
    fn save(tx: &mut impl Write, permit: Permit, change: &Change<Self>, secrets: SecretChange) -> Result<()>;
}

impl Saved for GeneralKey {
    fn save(tx: &mut impl Write, permit: Permit, change: &Change<Self>, secrets: SecretChange) -> Result<()> {
        tx.save_general_key(permit, change, secrets)
    }
}

impl Saved for UserToken {
    fn save(tx: &mut impl Write, permit: Permit, change: &Change<Self>, secrets: SecretChange) -> Result<()> {
        tx.save_user_token(permit, change, secrets)
    }
}

impl Saved for App {
    fn save(tx: &mut impl Write, permit: Permit, change: &Change<Self>, secrets: SecretChange) -> Result<()> {
        tx.save_app(permit, change, secrets)
    }
}

impl Saved for Integration {
    fn save(tx: &mut impl Write, permit: Permit, change: &Change<Self>, secrets: SecretChange) -> Result<()> {
        tx.save_integration(permit, change, secrets)
    }
}

/// One piece of work: its transaction, on whose behalf, and whether a secret has left the house.
pub(super) struct Work<'w, T> {
    pub(super) tx: &'w mut T,
    pub(super) acting: &'w Acting,
    pub(super) entropy: &'w mut dyn Entropy,
    handed_over: bool,
}

impl<T: Write> Work<'_, T> {
    /// The moment of the work.
    pub(super) fn at(&self) -> Timestamp {
        self.acting.at()
    }

    /// Asks for the receipt that a change needs.
    pub(super) fn authorize(&self, action: Action, target: &Target) -> Result<Permit> {
        authorize(self.acting, action, target)
    }

    /// Asks without taking a receipt, before there is a thing to name, or before it is looked for.
    pub(super) fn require(&self, action: Action, target: &Target) -> Result<()> {
        require(self.acting, action, target)
    }

    /// Draws an id that was never used.
    pub(super) fn fresh_id(&mut self, noun: Noun) -> Result<Id> {
        fresh_id(self.tx, noun, self.entropy)
    }

    /// Finds several things, each once, however often it is named.
    pub(super) fn each_once<C: Audited>(
        &self,
        references: &[String],
        find: impl Fn(&Self, &str) -> Result<C>,
    ) -> Result<Vec<C>> {
        let mut found: Vec<C> = Vec::with_capacity(references.len());
        for reference in references {
            let thing = find(self, reference)?;
            if found.iter().all(|other| other.audit_id() != thing.audit_id()) {
                found.push(thing);
            }
        }
        Ok(found)
    }

    /// Saves what a credential becomes; what changes nothing leaves no record.
    pub(super) fn update<C: Saved>(
        &mut self,
        permit: Permit,
        before: C,
        after: C,
        secrets: SecretChange,
    ) -> Result<C> {
        if before == after && matches!(secrets, SecretChange::Keep) {
            return Ok(after);
        }
        C::save(self.tx, permit, &Change::Update { before, after: after.clone() }, secrets)?;
        Ok(after)
    }

    /// Removes a credential, and kills its secrets.
    pub(super) fn delete<C: Saved>(
        &mut self,
        permit: Permit,
        before: C,
        reason: Option<&Label>,
    ) -> Result<C> {
        let change = Change::Delete { before: before.clone(), reason: reason.cloned() };
        C::save(self.tx, permit, &change, SecretChange::Keep)?;
        Ok(before)
    }

    /// When a secret ends that is rotated away with an overlap.
    pub(super) fn overlap_end(&self, overlap: Option<SignedDuration>) -> Result<Option<Timestamp>> {
        overlap
            .map(|overlap| self.at().checked_add(overlap))
            .transpose()
            .map_err(|_| Error::invalid("overlap", "too long"))
    }

    /// Hands a secret over, as the last step before the commit: if it fails, nothing was changed; if the commit
    /// fails afterwards, the error says that the secret is void.
    pub(super) fn hand_over(&mut self, hand_over: impl FnOnce() -> std::io::Result<()>) -> Result<()> {
        hand_over().map_err(ErrorKind::HandOver)?;
        self.handed_over = true;
        Ok(())
    }
}

/// Draws an id that was never used.
pub(super) fn fresh_id(tx: &impl Read, noun: Noun, entropy: &mut dyn Entropy) -> Result<Id> {
    loop {
        let id = Id::generate(noun, entropy)?;
        if !tx.is_taken(id)? {
            return Ok(id);
        }
    }
}
