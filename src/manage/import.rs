//! Importing: bringing credentials and users in from elsewhere, so that no client has to change.
//!
//! Everything of one import comes in together or not at all, in one transaction, with one audit record that names the
//! file by its SHA-256. The entries are taken one by one and not kept; what is bad about one is told with its line,
//! never with its content.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;

use super::resolve;
use super::session::Session;
use super::tokens::refuse_beyond;
use super::write_context::{WriteContext, fresh_id};
use crate::authz::{Acting, Action, Decision, Target, decide, require};
use crate::error::{Conflict, Error, ErrorKind, Result};
use crate::model::{
    Ability, Access, Account, CredentialKind, Destination, DestinationRef, Fingerprint, GeneralKey, Hint, Id,
    Imported, Integration, IntegrationType, Label, Name, Noun, RateLimit, Role, Secret, User, UserToken,
    fold, secret_patterns::digests_in,
};
use crate::ports::Entropy;
use crate::store::{
    Clash, Death, DestinationBy, DestinationQuery, ImportTx, ReadTx, Store, UserBy, WriteTx, secret_in,
};

/// Where entries come from, one after the other.
pub trait Entries<T> {
    /// The next line with something on it, or none at the end.
    ///
    /// # Errors
    /// If there may be more, but it cannot be read.
    fn next(&mut self) -> Result<Option<Line<T>>>;

    /// The SHA-256 of all that was read, once there is no more.
    fn sha256(&self) -> [u8; 32];
}

/// One line of what is imported.
#[derive(Debug)]
pub struct Line<T> {
    /// Its number, counted from 1.
    pub number: u64,
    /// What stands there, or why that is nothing which could come in, without its content.
    pub entry: Result<T, String>,
}

/// A credential to be brought in.
#[derive(Debug)]
pub struct KeyEntry {
    /// What it is: a general key, a user token or an integration key.
    pub kind: CredentialKind,
    /// What it is to be recognised by.
    pub material: Material,
    /// What it is for; what an integration is called.
    pub description: Label,
    /// What it may reach.
    pub access: Access,
    /// Whose it is: of a user token the user, of an integration the service or the orchestration, by name or id. A
    /// general key belongs to the account.
    pub owner: Option<String>,
    /// When it was made, if that is known.
    pub created_at: Option<jiff::Timestamp>,
    /// When its time ends, if it does.
    pub expires_at: Option<jiff::Timestamp>,
}

/// What is left of a secret elsewhere.
#[derive(Debug)]
pub enum Material {
    /// The secret itself.
    Secret(Secret),
    /// Its SHA-256. What its last characters were is not known then.
    Sha256(Fingerprint),
}

/// A user to be brought in.
#[derive(Clone, Debug)]
pub struct UserEntry {
    /// The name.
    pub name: Name,
    /// The e-mail address.
    pub email: Option<Label>,
    /// The role; any but owner.
    pub role: Role,
    /// The operating-system user who is to act as this user.
    pub os_uid: Option<u32>,
    /// The user's id in the API behind.
    pub external_id: Option<Label>,
    /// The limit that all tokens of the user share, where it is not the documented one.
    pub rate_limit: Option<RateLimit>,
}

/// How an import treats bad lines, and whether it is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportMode {
    /// Leave bad lines out instead of importing nothing.
    pub skip_bad: bool,
    /// Check everything, and import nothing.
    pub dry_run: bool,
}

/// Tells what is wrong with a line: its number, and why.
pub type Tell<'t> = &'t mut dyn FnMut(u64, &str) -> Result<()>;

impl<S: Store> Session<'_, S> {
    /// Brings credentials in, all of them, or with [`ImportMode::skip_bad`] those that nothing is wrong with. Each line with which
    /// something is wrong is told.
    ///
    /// # Errors
    /// If the acting user may not, the account has such keys switched off, a line is bad and bad ones are not skipped;
    /// nothing has come in then. And whatever `entries` and `tell` return.
    pub fn import_keys(
        &mut self,
        entries: &mut dyn Entries<KeyEntry>,
        mode: ImportMode,
        tell: Tell<'_>,
    ) -> Result<Imported> {
        self.import(entries, mode, tell, |account, acting| KeyImport {
            account,
            acting,
            lines: Lines::default(),
            users: HashMap::new(),
            users_by_likeness: None,
            destinations: HashMap::new(),
            destinations_by_likeness: HashMap::new(),
        })
    }

    /// Brings users in; as [`Session::import_keys`].
    ///
    /// # Errors
    /// As there.
    pub fn import_users(
        &mut self,
        entries: &mut dyn Entries<UserEntry>,
        mode: ImportMode,
        tell: Tell<'_>,
    ) -> Result<Imported> {
        self.import(entries, mode, tell, |_, acting| UserImport { acting, taken: None })
    }

    fn import<T, I: Take<T>>(
        &mut self,
        entries: &mut dyn Entries<T>,
        mode: ImportMode,
        tell: Tell<'_>,
        begin: impl FnOnce(Account, Acting) -> I,
    ) -> Result<Imported> {
        if mode.dry_run {
            self.dry_run(|context| import(context, entries, mode.skip_bad, tell, begin))
        } else {
            self.write(|context| import(context, entries, mode.skip_bad, tell, begin))
        }
    }
}

/// Why an entry does not come in: something is wrong with its line, or the whole import ends here.
enum Refused {
    Line(String),
    Import(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Import(error)
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Line(why)
    }
}

impl From<&str> for Refused {
    fn from(why: &str) -> Self {
        Self::Line(why.to_owned())
    }
}

/// Takes entries of one type in.
trait Take<T> {
    /// Takes one in, and counts it.
    fn take(
        &mut self,
        intake: &mut ImportTx<'_, impl WriteTx>,
        entropy: &mut dyn Entropy,
        line: u64,
        entry: T,
        imported: &mut Imported,
    ) -> Result<(), Refused>;
}

fn import<T, W: WriteTx, I: Take<T>>(
    context: &mut WriteContext<'_, W>,
    entries: &mut dyn Entries<T>,
    skip_bad: bool,
    tell: Tell<'_>,
    begin: impl FnOnce(Account, Acting) -> I,
) -> Result<Imported> {
    let account = context.tx.account()?;
    let name = account.name.as_str().to_owned();
    let permit = context.authorize(Action::Import, &Target::of(&account))?;
    let mut importer = begin(account, context.acting.clone());
    let entropy = &mut *context.entropy;
    context.tx.import(permit, |intake| {
        let mut sum = Imported { account: name.clone(), ..Imported::default() };
        let mut lines = 0_u64;
        while let Some(Line { number, entry }) = entries.next()? {
            lines += 1;
            let taken = entry
                .map_err(Refused::Line)
                .and_then(|entry| importer.take(intake, entropy, number, entry, &mut sum));
            match taken {
                Ok(()) => {}
                Err(Refused::Import(error)) => return Err(error),
                Err(Refused::Line(why)) => {
                    sum.skipped += 1;
                    tell(number, &why)?;
                }
            }
        }
        // Where nothing is left, leaving out what is bad does not do what was asked.
        if sum.skipped > 0 && (!skip_bad || sum.count() == 0) {
            return Err(Conflict::BadLines { bad: sum.skipped, lines }.into());
        }
        sum.sha256 = Some(entries.sha256());
        Ok(sum)
    })
}

/// The lines from which the things of a noun came, by their order. Where a run of lines came in without one left out,
/// its first says them all.
#[derive(Default)]
struct Lines {
    runs: HashMap<Noun, Vec<(u64, u64)>>,
}

impl Lines {
    fn note(&mut self, noun: Noun, nth: u64, line: u64) {
        let runs = self.runs.entry(noun).or_default();
        if runs.last().is_none_or(|(first, from)| nth - first != line - from) {
            runs.push((nth, line));
        }
    }

    fn of(&self, noun: Noun, nth: u64) -> Option<u64> {
        let runs = self.runs.get(&noun)?;
        let (first, from) = runs.get(runs.partition_point(|(first, _)| *first <= nth).checked_sub(1)?)?;
        Some(from + (nth - first))
    }
}

/// Takes credentials in.
struct KeyImport {
    account: Account,
    acting: Acting,
    lines: Lines,
    /// Those who were named so far, and are there: many tokens are a few users'.
    users: HashMap<String, User>,
    /// All who are here, once one was named otherwise than exactly.
    users_by_likeness: Option<HashMap<String, Option<User>>>,
    /// Likewise.
    destinations: HashMap<(Noun, String), Destination>,
    /// Likewise, of each noun.
    destinations_by_likeness: HashMap<Noun, HashMap<String, Option<Destination>>>,
}

impl Take<KeyEntry> for KeyImport {
    fn take(
        &mut self,
        intake: &mut ImportTx<'_, impl WriteTx>,
        entropy: &mut dyn Entropy,
        line: u64,
        entry: KeyEntry,
        imported: &mut Imported,
    ) -> Result<(), Refused> {
        let kind = entry.kind;
        self.refuse_switched_off(kind)?;
        let (hint, fingerprint) = recognised_by(kind, &entry.material)?;
        let digest = intake.keyring().digest(&fingerprint);
        refuse_secrets(intake, "description", entry.description.as_str())?;
        if digests_in(entry.description.as_str(), intake.keyring()).contains(&digest) {
            return Err("description: must not contain a secret, and has that of its line".into());
        }
        let at = self.acting.at();
        let created_at = entry.created_at.unwrap_or(at);
        if created_at > at {
            return Err("created_at: lies ahead".into());
        }
        if entry.expires_at.zip(entry.created_at).is_some_and(|(end, made)| end <= made) {
            return Err("expires_at: is not after it was made".into());
        }
        let (noun, count, clash) = match kind {
            CredentialKind::General => {
                if entry.owner.is_some() {
                    return Err("owner: a general key belongs to the account, and has none".into());
                }
                if let Access::Role(_) = entry.access {
                    return Err("access: that of a role is for user tokens".into());
                }
                let key = GeneralKey {
                    id: fresh_id(intake.rows(), Noun::GeneralKey, entropy)?,
                    description: entry.description,
                    hint,
                    access: entry.access,
                    created_at,
                    created_by: (&self.acting).into(),
                    disabled: None,
                    expires_at: entry.expires_at,
                    rate_limit: None,
                    overlap_ends_at: None,
                    last_used_at: None,
                };
                let clash = intake.add(&key, &digest)?;
                (Noun::GeneralKey, &mut imported.general_keys, clash)
            }
            CredentialKind::UserToken => {
                let user = self.user(intake.reading(), entry.owner.as_deref())?;
                let Access::Role(scopes) = &entry.access else {
                    return Err("access: of a user token it is role, or some scopes of it".into());
                };
                refuse_beyond(user.role, scopes.as_ref()).map_err(|error| format!("access: {error}"))?;
                let token = UserToken {
                    id: fresh_id(intake.rows(), Noun::UserToken, entropy)?,
                    user,
                    description: entry.description,
                    hint,
                    access: entry.access,
                    created_at,
                    expires_at: entry.expires_at,
                    overlap_ends_at: None,
                    last_used_at: None,
                };
                let clash = intake.add(&token, &digest)?;
                (Noun::UserToken, &mut imported.user_tokens, clash)
            }
            CredentialKind::Integration => {
                let integration = self.integration(intake, entropy, entry, created_at)?;
                let clash = intake.add(&integration, &digest)?;
                (Noun::Integration, &mut imported.integrations, clash)
            }
            CredentialKind::AppToken => {
                return Err("kind: an app token lives for a day, and is not imported".into());
            }
        };
        match clash {
            None => {
                self.lines.note(noun, *count, line);
                *count += 1;
                Ok(())
            }
            Some(clash) => Err(self.in_the_way(&clash).into()),
        }
    }
}

impl KeyImport {
    /// Refuses what the account, or the acting user, does not have at all.
    fn refuse_switched_off(&self, kind: CredentialKind) -> Result<()> {
        let is_token = kind == CredentialKind::UserToken;
        if is_token {
            require(&self.acting, Action::Import, &Target::of(&self.account).bringing_user_tokens())?;
        }
        let switched_off = match kind {
            CredentialKind::General | CredentialKind::UserToken if !self.account.rest_api => Ability::RestApi,
            CredentialKind::UserToken if !self.account.has_user_tokens() => Ability::AdvancedPermissions,
            _ => return Ok(()),
        };
        Err(Conflict::SwitchedOff(switched_off).into())
    }

    /// The user whose token it is to be.
    fn user(&mut self, store: &mut impl ReadTx, owner: Option<&str>) -> Result<User, Refused> {
        let owner = owner.ok_or("owner: a user token has one")?;
        if let Some(user) = self.users.get(owner) {
            return Ok(user.clone());
        }
        let found = match owner.parse::<Id>() {
            Ok(id) if id.noun() == Noun::User => store.user(UserBy::Id(id))?,
            _ => match store.user(UserBy::Name(owner))? {
                None => self.user_like(store, owner)?,
                exactly => exactly,
            },
        };
        let user = found.ok_or("owner: there is no such user")?;
        if user.has_left() {
            return Err(format!("owner: {} has left the account", user.name).into());
        }
        let own = Target::all(Noun::UserToken).belonging_to(&user);
        if decide(&user, Action::CreateUserToken, &own) != Decision::Allowed {
            return Err(format!("owner: the role {} has no user tokens", user.role).into());
        }
        self.users.insert(owner.to_owned(), user.clone());
        Ok(user)
    }

    fn user_like(&mut self, store: &mut impl ReadTx, owner: &str) -> Result<Option<User>> {
        let all = match &mut self.users_by_likeness {
            Some(all) => all,
            none => none.insert(resolve::by_likeness(|visit| resolve::present_users(store, visit))?),
        };
        Ok(all.get(&fold(owner)).cloned().flatten())
    }

    /// The integration that it is to be.
    fn integration(
        &mut self,
        intake: &mut ImportTx<'_, impl WriteTx>,
        entropy: &mut dyn Entropy,
        entry: KeyEntry,
        created_at: jiff::Timestamp,
    ) -> Result<Integration, Refused> {
        let Material::Secret(secret) = entry.material else {
            return Err("digest: an integration key must stay visible, and needs its secret".into());
        };
        if entry.access != Access::Full {
            return Err("access: an integration key has none but full".into());
        }
        if entry.expires_at.is_some() {
            return Err("expires_at: an integration key has no end".into());
        }
        let owner = entry.owner.ok_or("owner: an integration leads into a service or an orchestration")?;
        let noun = if secret.is_of_orchestration() { Noun::Orchestration } else { Noun::Service };
        let destination = self.destination(intake.reading(), noun, &owner)?;
        let name = Name::parse(Noun::Integration, entry.description.as_str())
            .map_err(|error| format!("description: {error}"))?;
        let id = fresh_id(intake.rows(), Noun::Integration, entropy)?;
        Ok(Integration {
            id,
            name,
            kind: IntegrationType::EventsApiV2,
            destination,
            hint: secret.hint(),
            sealed_key: secret.seal(intake.keyring(), id, entropy).map_err(Error::from)?,
            created_at,
            created_by: (&self.acting).into(),
            rate_limit: None,
            last_used_at: None,
        })
    }

    fn destination(
        &mut self,
        store: &mut impl ReadTx,
        noun: Noun,
        named: &str,
    ) -> Result<DestinationRef, Refused> {
        let known = (noun, named.to_owned());
        if let Some(destination) = self.destinations.get(&known) {
            return Ok(destination.into());
        }
        let by_id = match named.parse::<Id>() {
            Ok(id) if id.noun() == noun => store.destination(DestinationBy::Id(id))?,
            _ => None,
        };
        let found = match by_id {
            None => match store.destination(DestinationBy::Name(noun, named))? {
                None => self.destination_like(store, noun, named)?,
                exactly => exactly,
            },
            found => found,
        };
        let found =
            found.ok_or_else(|| format!("owner: there is no such {noun}, where this key would lead"))?;
        let destination = DestinationRef::from(&found);
        self.destinations.insert(known, found);
        Ok(destination)
    }

    fn destination_like(
        &mut self,
        store: &mut impl ReadTx,
        noun: Noun,
        named: &str,
    ) -> Result<Option<Destination>> {
        let all = match self.destinations_by_likeness.entry(noun) {
            Entry::Occupied(all) => all.into_mut(),
            Entry::Vacant(none) => none.insert(resolve::by_likeness(|visit| {
                store.destinations(&DestinationQuery::all(noun), visit)
            })?),
        };
        Ok(all.get(&fold(named)).cloned().flatten())
    }

    /// Says whose a secret is already.
    fn in_the_way(&self, clash: &Clash) -> String {
        match clash {
            Clash::Taken(id) => format!("{} {id} has this secret already", id.noun()),
            Clash::Added { noun, index } => match self.lines.of(*noun, *index) {
                Some(line) => format!("line {line} has the same secret"),
                None => "an earlier line has the same secret".to_owned(),
            },
            Clash::Dead(tombstone) => {
                let died = match tombstone.death {
                    Death::Removed => "was removed",
                    Death::Rotated => "was rotated away",
                };
                format!(
                    "{} {} had this secret; it {died}, and cannot come back",
                    tombstone.id.noun(),
                    tombstone.id
                )
            }
        }
    }
}

/// Refuses a text that holds a secret of the store: what comes in has no record of its own, with which it would be asked.
fn refuse_secrets(intake: &ImportTx<'_, impl WriteTx>, what: &str, text: &str) -> Result<(), Refused> {
    match secret_in(intake.rows(), intake.keyring(), text)? {
        None => Ok(()),
        Some(of) => Err(ErrorKind::HoldsSecret { what: what.to_owned(), of }.to_string().into()),
    }
}

/// What a credential is to be recognised by, if that is what its kind says.
fn recognised_by(kind: CredentialKind, material: &Material) -> Result<(Option<Hint>, Fingerprint), Refused> {
    match material {
        Material::Sha256(fingerprint) => Ok((None, fingerprint.clone())),
        Material::Secret(secret) => match secret.kind() {
            None => Err("secret: has the shape of no key".into()),
            Some(shape) if shape != kind => Err(format!("secret: has the shape of kind {shape}").into()),
            Some(_) => Ok((Some(secret.hint()), secret.fingerprint())),
        },
    }
}

/// Takes users in.
struct UserImport {
    acting: Acting,
    /// What only one user can have, and who has it; once it was looked up.
    taken: Option<Taken>,
}

/// What only one user can have, and who has it.
#[derive(Default)]
struct Taken {
    names: HashMap<String, HasIt>,
    os_uids: HashMap<u32, HasIt>,
    external_ids: HashMap<String, HasIt>,
}

/// Who has something: a user of the account, or a line of the file.
#[derive(Clone)]
enum HasIt {
    User(String),
    Line(u64),
}

impl HasIt {
    fn refuse(&self, what: &str) -> Refused {
        match self {
            Self::Line(line) => format!("line {line} has the same {what}"),
            Self::User(user) => format!("user {user} has this {what} already"),
        }
        .into()
    }
}

impl Taken {
    fn of(store: &mut impl ReadTx) -> Result<Self> {
        let mut taken = Self::default();
        resolve::present_users(store, &mut |user| {
            taken.note(&user, &HasIt::User(format!("{} ({})", user.name, user.id)));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(taken)
    }

    fn note(&mut self, user: &User, has_it: &HasIt) {
        self.names.insert(fold(user.name.as_str()), has_it.clone());
        self.os_uids.extend(user.os_uid.map(|uid| (uid, has_it.clone())));
        self.external_ids
            .extend(user.external_id.as_ref().map(|id| (id.as_str().to_owned(), has_it.clone())));
    }

    fn refuse(&self, user: &User) -> Result<(), Refused> {
        if let Some(other) = self.names.get(&fold(user.name.as_str())) {
            return Err(other.refuse("name"));
        }
        if let Some(other) = user.os_uid.and_then(|uid| self.os_uids.get(&uid)) {
            return Err(other.refuse("operating-system user"));
        }
        if let Some(other) = user.external_id.as_ref().and_then(|id| self.external_ids.get(id.as_str())) {
            return Err(other.refuse("external id"));
        }
        Ok(())
    }
}

impl Take<UserEntry> for UserImport {
    fn take(
        &mut self,
        intake: &mut ImportTx<'_, impl WriteTx>,
        entropy: &mut dyn Entropy,
        line: u64,
        entry: UserEntry,
        imported: &mut Imported,
    ) -> Result<(), Refused> {
        let UserEntry { name, email, role, os_uid, external_id, rate_limit } = entry;
        refuse_secrets(intake, "name", name.as_str())?;
        refuse_secrets(intake, "email", email.as_ref().map_or("", Label::as_str))?;
        refuse_secrets(intake, "external id", external_id.as_ref().map_or("", Label::as_str))?;
        if role == Role::Owner {
            return Err("role: an account has exactly one owner".into());
        }
        let target = Target::all(Noun::User).granting(role);
        require(&self.acting, Action::AddUser, &target).map_err(|refusal| match &refusal.limit {
            Some(limit) => Refused::Line(format!("role: {limit}")),
            None => Refused::Import(refusal.into()),
        })?;
        let user = User {
            id: fresh_id(intake.rows(), Noun::User, entropy)?,
            name,
            email,
            role,
            os_uid,
            external_id,
            rate_limit,
            created_at: self.acting.at(),
            left_at: None,
            left_reason: None,
        };
        let taken = match &mut self.taken {
            Some(taken) => taken,
            none => none.insert(Taken::of(intake.reading())?),
        };
        taken.refuse(&user)?;
        // As in `refuse_taken` of a user who is added: also one who has left.
        let named = user.external_id.as_ref().and_then(|id| id.as_str().parse::<Id>().ok());
        if let Some(other) = named.map(|id| intake.rows().user(UserBy::Id(id))).transpose()?.flatten() {
            return Err(format!("external id: is the id of user {}", other.name).into());
        }
        intake.add_user(&user)?;
        taken.note(&user, &HasIt::Line(line));
        imported.users += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_what_came_in_is_found_by_its_order() {
        let mut lines = Lines::default();
        // Line 5 was bad, and 7 brought something else.
        for (nth, line) in [(0, 2), (1, 3), (2, 4), (3, 6), (4, 8), (5, 9)] {
            lines.note(Noun::GeneralKey, nth, line);
        }
        lines.note(Noun::UserToken, 0, 7);
        let found: Vec<_> = (0..6).map(|nth| lines.of(Noun::GeneralKey, nth).unwrap()).collect();
        assert_eq!(found, [2, 3, 4, 6, 8, 9]);
        assert_eq!(lines.of(Noun::UserToken, 0), Some(7));
        assert_eq!(lines.of(Noun::Integration, 0), None);
        assert_eq!(lines.runs[&Noun::GeneralKey].len(), 3, "a run is kept by its first");
    }
}
