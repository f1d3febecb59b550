//! Import of credentials and users from another system, so that clients keep their secrets.
//!
//! An import is atomic: one transaction and one audit record, which contains the SHA-256 of the file. Entries are
//! processed one at a time and not kept in memory. A bad entry is reported with its line number, never with its
//! content.

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

/// A source of entries to import.
pub trait Entries<T> {
    /// Returns the next line that is not blank, or `None` at the end.
    ///
    /// # Errors
    /// If the source cannot be read.
    fn next(&mut self) -> Result<Option<Line<T>>>;

    /// Returns the SHA-256 of all input. Called after [`Entries::next`] has returned `None`.
    fn sha256(&self) -> [u8; 32];
}

/// One line of the input.
#[derive(Debug)]
pub struct Line<T> {
    /// The line number, counted from 1.
    pub number: u64,
    /// The parsed entry, or the reason why the line is not one. The reason does not contain the content of the line.
    pub entry: Result<T, String>,
}

/// A credential to import.
#[derive(Debug)]
pub struct KeyEntry {
    /// The kind: a general key, a user token or an integration key.
    pub kind: CredentialKind,
    /// The secret or its hash.
    pub material: Material,
    /// The description; for an integration key, the name of the integration.
    pub description: Label,
    /// The access.
    pub access: Access,
    /// The owner, by name or id: the user of a user token, or the service or orchestration of an integration key. A
    /// general key has none.
    pub owner: Option<String>,
    /// When the credential was created, if known.
    pub created_at: Option<jiff::Timestamp>,
    /// When the credential expires, if it does.
    pub expires_at: Option<jiff::Timestamp>,
}

/// The secret of an imported credential, as far as the other system has it.
#[derive(Debug)]
pub enum Material {
    /// The secret itself.
    Secret(Secret),
    /// The SHA-256 of the secret. Its last characters, the hint, are unknown then.
    Sha256(Fingerprint),
}

/// A user to import.
#[derive(Clone, Debug)]
pub struct UserEntry {
    /// The name.
    pub name: Name,
    /// The e-mail address.
    pub email: Option<Label>,
    /// The role; any except owner.
    pub role: Role,
    /// The uid of the operating-system user that is mapped to this user.
    pub os_uid: Option<u32>,
    /// The user's id in the API behind the gateway.
    pub external_id: Option<Label>,
    /// The rate limit that all tokens of the user share, or `None` for the default.
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

/// A callback for bad lines, with the line number and the reason.
pub type Tell<'t> = &'t mut dyn FnMut(u64, &str) -> Result<()>;

impl<S: Store> Session<'_, S> {
    /// Imports credentials. With [`ImportMode::skip_bad`], bad lines are skipped. Each bad line is passed to `tell`.
    ///
    /// # Errors
    /// If the acting user is not permitted, such keys are switched off for the account, a line is bad without
    /// `skip_bad`, or `entries` or `tell` returns an error. Nothing is imported then.
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

    /// Imports users, like [`Session::import_keys`].
    ///
    /// # Errors
    /// Those of [`Session::import_keys`].
    pub fn import_users(
        &mut self,
        entries: &mut dyn Entries<UserEntry>,
        mode: ImportMode,
        tell: Tell<'_>,
    ) -> Result<Imported> {
        self.import(entries, mode, tell, |_, acting| UserImport { acting, taken: None })
    }

    fn import<T, I: Importer<T>>(
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

/// The reason why an entry is not imported: its line is bad, or the whole import fails.
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

/// Imports entries of one type.
trait Importer<T> {
    /// Imports one entry and counts it.
    fn import(
        &mut self,
        intake: &mut ImportTx<'_, impl WriteTx>,
        entropy: &mut dyn Entropy,
        line: u64,
        entry: T,
        imported: &mut Imported,
    ) -> Result<(), Refused>;
}

fn import<T, W: WriteTx, I: Importer<T>>(
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
                .and_then(|entry| importer.import(intake, entropy, number, entry, &mut sum));
            match taken {
                Ok(()) => {}
                Err(Refused::Import(error)) => return Err(error),
                Err(Refused::Line(why)) => {
                    sum.skipped += 1;
                    tell(number, &why)?;
                }
            }
        }
        // If every line is bad, skipping bad lines would import nothing.
        if sum.skipped > 0 && (!skip_bad || sum.count() == 0) {
            return Err(Conflict::BadLines { bad: sum.skipped, lines }.into());
        }
        sum.sha256 = Some(entries.sha256());
        Ok(sum)
    })
}

/// The line numbers of the imported items of each noun, by their index. Items of consecutive lines are stored as a run,
/// by the index and the line of its first item.
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

/// The import of credentials.
struct KeyImport {
    account: Account,
    acting: Acting,
    lines: Lines,
    /// The owners resolved so far, by reference: many tokens belong to few users.
    users: HashMap<String, User>,
    /// All active users by folded name, loaded when a reference is not an exact name.
    users_by_likeness: Option<HashMap<String, Option<User>>>,
    /// The services and orchestrations resolved so far, by reference.
    destinations: HashMap<(Noun, String), Destination>,
    /// All services or orchestrations by folded name, loaded when a reference is not an exact name.
    destinations_by_likeness: HashMap<Noun, HashMap<String, Option<Destination>>>,
}

impl Importer<KeyEntry> for KeyImport {
    fn import(
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
            return Err("description: must not contain a secret, but contains that of this line".into());
        }
        let at = self.acting.at();
        let created_at = entry.created_at.unwrap_or(at);
        if created_at > at {
            return Err("created_at: is in the future".into());
        }
        if entry.expires_at.zip(entry.created_at).is_some_and(|(end, made)| end <= made) {
            return Err("expires_at: is not after created_at".into());
        }
        let (noun, count, clash) = match kind {
            CredentialKind::General => {
                if entry.owner.is_some() {
                    return Err("owner: a general key belongs to the account and has no owner".into());
                }
                if let Access::Role(_) = entry.access {
                    return Err("access: role is for user tokens only".into());
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
                    return Err("access: a user token needs role, with or without scopes".into());
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
                return Err("kind: an app token is valid for a day only and cannot be imported".into());
            }
        };
        match clash {
            None => {
                self.lines.note(noun, *count, line);
                *count += 1;
                Ok(())
            }
            Some(clash) => Err(self.describe(&clash).into()),
        }
    }
}

impl KeyImport {
    /// Fails if the account or the acting user cannot have credentials of a kind.
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

    /// Returns the user of a token.
    fn user(&mut self, store: &mut impl ReadTx, owner: Option<&str>) -> Result<User, Refused> {
        let owner = owner.ok_or("owner: a user token needs one")?;
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

    /// Returns the integration of an entry.
    fn integration(
        &mut self,
        intake: &mut ImportTx<'_, impl WriteTx>,
        entropy: &mut dyn Entropy,
        entry: KeyEntry,
        created_at: jiff::Timestamp,
    ) -> Result<Integration, Refused> {
        let Material::Secret(secret) = entry.material else {
            return Err("digest: an integration key must remain visible, so its secret is needed".into());
        };
        if entry.access != Access::Full {
            return Err("access: an integration key has full access only".into());
        }
        if entry.expires_at.is_some() {
            return Err("expires_at: an integration key does not expire".into());
        }
        let owner = entry.owner.ok_or("owner: an integration key needs a service or an orchestration")?;
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
        let found = found.ok_or_else(|| format!("owner: there is no such {noun} for this key"))?;
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

    /// Describes a clash.
    fn describe(&self, clash: &Clash) -> String {
        match clash {
            Clash::Taken(id) => format!("{} {id} already has this secret", id.noun()),
            Clash::Added { noun, index } => match self.lines.of(*noun, *index) {
                Some(line) => format!("line {line} has the same secret"),
                None => "an earlier line has the same secret".to_owned(),
            },
            Clash::Dead(tombstone) => {
                let died = match tombstone.death {
                    Death::Removed => "was removed",
                    Death::Rotated => "was rotated",
                };
                format!(
                    "{} {} had this secret; it {died} and cannot be used again",
                    tombstone.id.noun(),
                    tombstone.id
                )
            }
        }
    }
}

/// Rejects a text that contains a secret of the store. Imported items need this here, because they have no audit record
/// of their own, for which [`Transaction`](crate::store::Transaction) would check their texts.
fn refuse_secrets(intake: &ImportTx<'_, impl WriteTx>, what: &str, text: &str) -> Result<(), Refused> {
    match secret_in(intake.rows(), intake.keyring(), text)? {
        None => Ok(()),
        Some(of) => Err(ErrorKind::HoldsSecret { what: what.to_owned(), of }.to_string().into()),
    }
}

/// Returns the hint and the fingerprint of a secret, after checking that it has the shape of its kind.
fn recognised_by(kind: CredentialKind, material: &Material) -> Result<(Option<Hint>, Fingerprint), Refused> {
    match material {
        Material::Sha256(fingerprint) => Ok((None, fingerprint.clone())),
        Material::Secret(secret) => match secret.kind() {
            None => Err("secret: is not in the format of any key".into()),
            Some(shape) if shape != kind => Err(format!("secret: is in the format of kind {shape}").into()),
            Some(_) => Ok((Some(secret.hint()), secret.fingerprint())),
        },
    }
}

/// The import of users.
struct UserImport {
    acting: Acting,
    /// The unique properties in use, loaded at the first entry.
    taken: Option<Taken>,
}

/// The unique properties of users that are in use, and by whom.
#[derive(Default)]
struct Taken {
    names: HashMap<String, TakenBy>,
    os_uids: HashMap<u32, TakenBy>,
    external_ids: HashMap<String, TakenBy>,
}

/// The holder of a unique property: a user of the account, or a line of the file.
#[derive(Clone)]
enum TakenBy {
    User(String),
    Line(u64),
}

impl TakenBy {
    fn refuse(&self, what: &str) -> Refused {
        match self {
            Self::Line(line) => format!("line {line} has the same {what}"),
            Self::User(user) => format!("user {user} already has this {what}"),
        }
        .into()
    }
}

impl Taken {
    fn of(store: &mut impl ReadTx) -> Result<Self> {
        let mut taken = Self::default();
        resolve::present_users(store, &mut |user| {
            taken.note(&user, &TakenBy::User(format!("{} ({})", user.name, user.id)));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(taken)
    }

    fn note(&mut self, user: &User, by: &TakenBy) {
        self.names.insert(fold(user.name.as_str()), by.clone());
        self.os_uids.extend(user.os_uid.map(|uid| (uid, by.clone())));
        self.external_ids.extend(user.external_id.as_ref().map(|id| (id.as_str().to_owned(), by.clone())));
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

impl Importer<UserEntry> for UserImport {
    fn import(
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
        // As in `refuse_taken` for a new user, an external id must not be the id of any user, even one who has left.
        let named = user.external_id.as_ref().and_then(|id| id.as_str().parse::<Id>().ok());
        if let Some(other) = named.map(|id| intake.rows().user(UserBy::Id(id))).transpose()?.flatten() {
            return Err(format!("external id: is the id of user {}", other.name).into());
        }
        intake.add_user(&user)?;
        taken.note(&user, &TakenBy::Line(line));
        imported.users += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_maps_to_the_line_of_the_imported_item() {
        let mut lines = Lines::default();
        // Line 5 was bad, and line 7 was of another noun.
        for (nth, line) in [(0, 2), (1, 3), (2, 4), (3, 6), (4, 8), (5, 9)] {
            lines.note(Noun::GeneralKey, nth, line);
        }
        lines.note(Noun::UserToken, 0, 7);
        let found: Vec<_> = (0..6).map(|nth| lines.of(Noun::GeneralKey, nth).unwrap()).collect();
        assert_eq!(found, [2, 3, 4, 6, 8, 9]);
        assert_eq!(lines.of(Noun::UserToken, 0), Some(7));
        assert_eq!(lines.of(Noun::Integration, 0), None);
        assert_eq!(lines.runs[&Noun::GeneralKey].len(), 3, "a run is stored as its first item");
    }
}
