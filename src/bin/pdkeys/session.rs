//! Opens the store of a command, and begins a session for the acting user.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use directories::ProjectDirs;
use pdkeys::ErrorKind;
use pdkeys::error::{TokenRefusal, Unidentified};
use pdkeys::manage::{Founding, Identity, Session};
use pdkeys::model::{Name, Noun, Policy, Secret};
use pdkeys::ports::{SystemClock, SystemEntropy};
use pdkeys::store::Place;
use pdkeys::store::sqlite::SqliteStore;
use zeroize::Zeroizing;

use crate::environment::variable;
use crate::failure::Failure;
use crate::os_user::{login_name, os_user};
use crate::output::Format;
use crate::paths::{self, refuse_stream};
use crate::rights::Rights;
use crate::terminal::Terminal;

/// The largest file that is accepted as a token file, in bytes.
const LARGEST_TOKEN_FILE: usize = 4096;

const TOKEN_FILE_HOLDS: &str = "it must hold a user token, as pdkeys token create --write-to makes it";

/// Whether a command makes a store if there is none at the default place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstUse {
    /// It does, since it adds something to the store.
    MakesStore,
    /// It does not, since an empty store has nothing to show.
    NeedsStore,
}

/// What a command runs in: the global options, the terminal, and the rights of the process.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) yes: bool,
    pub(crate) output: Format,
    pub(crate) terminal: Terminal,
    pub(crate) rights: Rights,
}

impl Context {
    /// Returns the place of the store, and whether it is the default one.
    pub(crate) fn place(&self) -> Result<(Place, bool), Failure> {
        let named = self.store.clone().or_else(|| variable("PDKEYS_STORE").map(PathBuf::from));
        let is_default = named.is_none();
        let database = named.map_or_else(default_database, paths::of_store)?;
        let (place, uid) = (Place::new(database), rustix::process::geteuid().as_raw());
        let place = match self.rights {
            Rights::Callers => place.opened_as(uid),
            Rights::Deputys(_) if place.is_replaced() => {
                return Err(Failure::not_permitted(format!(
                    "{} is a store that a backup took the place of, with the roles of that time",
                    place.database().display()
                ))
                .with_hint("who owns it can look at it, without sudo"));
            }
            Rights::Deputys(caller) => place.opened_for_another(uid, caller),
        };
        let place = match variable("PDKEYS_STORE_KEY_FILE") {
            Some(path) => {
                let path = refuse_stream("store key", path.into())?;
                paths::refuse_home("PDKEYS_STORE_KEY_FILE", &path)?;
                place.with_store_key(path)
            }
            None => place,
        };
        Ok((place, is_default))
    }

    /// Opens the store. On first use it is made, if `first_use` allows that.
    pub(crate) fn open(&self, first_use: FirstUse) -> Result<SqliteStore, Failure> {
        let (place, is_default) = self.place()?;
        let store = match SqliteStore::open(&place) {
            Err(error)
                if is_default
                    && first_use == FirstUse::MakesStore
                    && matches!(error.kind(), ErrorKind::NoStore(_)) =>
            {
                self.make_first_store(&place)?
            }
            opened => opened?,
        };
        for exposed in store.exposed() {
            self.terminal.warning(&format!(
                "{} can be read by others (mode {:04o}); chmod 0600 it",
                exposed.path.display(),
                exposed.mode
            ));
        }
        Ok(store)
    }

    fn make_first_store(&self, place: &Place) -> Result<SqliteStore, Failure> {
        self.rights.refuse_founding()?;
        if variable("SUDO_UID").is_some() {
            return Err(Failure::failed(format!(
                "no store at {}, and none is made under sudo",
                place.database().display()
            ))
            .with_hint("pdkeys init makes it on purpose; --store or PDKEYS_STORE names another"));
        }
        let uid = rustix::process::getuid().as_raw();
        let founding = Founding {
            account: Name::parse(Noun::Account, "default")?,
            policy: Policy::default(),
            owner: login_name(uid)?,
            os_uid: uid,
        };
        match founding.make_store(place, &SystemClock, &mut SystemEntropy) {
            Ok(store) => {
                self.made_store(place, &founding.owner);
                Ok(store)
            }
            // Another process made the store first.
            Err(error) if matches!(error.kind(), ErrorKind::StoreExists(_)) => Ok(SqliteStore::open(place)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Reports where a store was made, and that its store key needs a copy.
    pub(crate) fn made_store(&self, place: &Place, owner: &Name) {
        self.terminal
            .done("Made", &format!("a store at {}; {owner} is Account Owner", place.database().display()));
        self.terminal.hint(&format!(
            "keep a copy of {} elsewhere: without it the store is worthless",
            place.store_key().display()
        ));
    }

    /// Opens the store, and begins a session in it for the acting user.
    pub(crate) fn with_session<T>(
        &self,
        first_use: FirstUse,
        work: impl FnOnce(&mut Session<'_, SqliteStore>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // Read before the store is made: an invalid token must not create a store.
        let token = self.token()?;
        // No token can be valid before the store exists.
        let first_use = if token.is_some() { FirstUse::NeedsStore } else { first_use };
        let mut store = self.open(first_use)?;
        let done = self.act(&mut store, token, work);
        if let Some(fault) = store.usage_fault() {
            self.terminal.warning(&format!("it is not known when anything was last used: {fault}"));
        }
        done
    }

    /// Begins a session in an existing store without printing anything, and waits at most `patience` for a lock. Used while
    /// a shell completes a line.
    pub(crate) fn with_silent_session(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Session<'_, SqliteStore>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let token = self.token()?;
        self.act(&mut SqliteStore::open_waiting(&self.place()?.0, patience)?, token, work)
    }

    fn act<T>(
        &self,
        store: &mut SqliteStore,
        token: Option<Secret>,
        work: impl FnOnce(&mut Session<'_, SqliteStore>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let identity = match token {
            Some(token) => Identity::Token(token),
            None => Identity::OsUser(os_user(store.place().database())?),
        };
        let mut entropy = SystemEntropy;
        let session = Session::begin(store, identity, &SystemClock, &mut entropy)?;
        match &self.on_behalf_of {
            Some(user) => work(&mut session.on_behalf_of(user)),
            None => work(&mut { session }),
        }
    }

    /// Returns the user token that was given, if any.
    ///
    /// # Errors
    /// If it is empty or cannot be read: the operating-system user never acts instead.
    fn token(&self) -> Result<Option<Secret>, Failure> {
        let token = self.announced_token()?;
        if token.as_ref().is_some_and(Secret::is_empty) {
            return Err(pdkeys::Error::from(ErrorKind::from(Unidentified::Token(TokenRefusal::Empty))).into());
        }
        Ok(token)
    }

    /// Refuses a user token for commands that make a store, or restore one where none can be read: no token can be valid
    /// there, and the operating-system user must not act in its place.
    pub(crate) fn refuse_token(&self) -> Result<(), Failure> {
        match self.token()? {
            None => Ok(()),
            Some(_) => Err(Failure::not_permitted(
                "a user token is of a store that is there; where one is made, the operating-system user acts",
            )
            .with_hint("the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user")),
        }
    }

    fn announced_token(&self) -> Result<Option<Secret>, Failure> {
        if let Some(path) = &self.token_file {
            self.rights.refuse("--token-file")?;
            let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_TOKEN_FILE + 1));
            File::open(path)
                .and_then(|file| file.take(LARGEST_TOKEN_FILE as u64 + 1).read_to_end(&mut bytes))
                .map_err(|error| {
                    Failure::not_permitted(format!("token file {}: {error}", path.display()))
                        .with_hint(TOKEN_FILE_HOLDS)
                })?;
            if bytes.len() > LARGEST_TOKEN_FILE {
                return Err(Failure::not_permitted(format!("token file {}: too large", path.display()))
                    .with_hint(TOKEN_FILE_HOLDS));
            }
            let text = String::from_utf8_lossy(&bytes);
            return Ok(Some(Secret::presented(without_line_end(&text).to_owned())));
        }
        let token =
            variable("PDKEYS_TOKEN").map(|token| Zeroizing::new(token.to_string_lossy().into_owned()));
        Ok(token.map(|token| Secret::presented(without_line_end(&token).to_owned())))
    }
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Returns the path of the store in the platform's data directory.
fn default_database() -> Result<PathBuf, Failure> {
    let is_set = |name| variable(name).is_some_and(|value| Path::new(&value).is_absolute());
    let unknown = || {
        Failure::failed("there is no default place for the store: HOME is not set")
            .with_hint("set HOME, or name the store with --store or PDKEYS_STORE")
    };
    // Without HOME, the directory would come from the password file, which is rarely what is meant.
    if !is_set("HOME") && !is_set("XDG_DATA_HOME") {
        return Err(unknown());
    }
    let project = ProjectDirs::from("", "", "pdkeys").ok_or_else(unknown)?;
    Ok(project.data_dir().join("pdkeys.db"))
}
