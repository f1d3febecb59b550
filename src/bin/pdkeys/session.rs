//! What a command runs in: the global options, the environment, the operating system's user, the store.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCompleter;
use directories::ProjectDirs;
use pdkeys::ErrorKind;
use pdkeys::authz::{Acting, Action, Decision, Target, decide};
use pdkeys::error::{TokenRefusal, Unidentified};
use pdkeys::manage::{Founding, Identity, Session};
use pdkeys::model::{Name, Noun, Policy, ScopeSet, Secret};
use pdkeys::ports::{SystemClock, SystemEntropy};
use pdkeys::store::Place;
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::known_scope;
use zeroize::Zeroizing;

use crate::complete;
use crate::failure::Failure;
use crate::output::Format;
use crate::paths::{self, no_stream, refuse_stream};
use crate::rights::Rights;
use crate::terminal::{Color, Terminal};

/// The largest file that can hold a token and nothing else.
const LARGEST_TOKEN_FILE: usize = 4096;

const TOKEN_FILE_HOLDS: &str = "it must hold a user token, as pdkeys token create --write-to makes it";

/// Options that every command takes, before or after its name.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Use the store in this file instead of the one at the default place
    ///
    /// `PDKEYS_STORE` does the same. The file must have been made with `pdkeys init`.
    #[arg(long, global = true, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    #[arg(value_parser = no_stream("store"))]
    pub(crate) store: Option<PathBuf>,

    /// Act as the owner of the user token in this file
    ///
    /// `PDKEYS_TOKEN` does the same with the token itself. A token that is not accepted is an error; the
    /// operating-system user is never tried instead.
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    #[arg(value_parser = no_stream("token file"))]
    pub(crate) token_file: Option<PathBuf>,

    /// Act as this user; the Account Owner alone may
    #[arg(long = "as", global = true, value_name = "USER", add = ArgValueCompleter::new(complete::users_to_act_as))]
    pub(crate) on_behalf_of: Option<String>,

    /// Do it without asking
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,

    /// Print no notices and hints
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,

    /// How to print data
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,

    /// Print cells of CSV as they are, without the quote before what a spreadsheet would compute
    #[arg(long, global = true)]
    pub(crate) raw: bool,
}

/// Whether a command that finds no store at the default place makes one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstUse {
    /// It does: it would put something in.
    MakesStore,
    /// It does not: there would be nothing to find.
    NeedsStore,
}

/// What a command runs in.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) globals: Globals,
    pub(crate) terminal: Terminal,
    pub(crate) rights: Rights,
}

impl Context {
    pub(crate) fn new(globals: Globals, terminal: Terminal, rights: Rights) -> Self {
        Self { globals, terminal, rights }
    }

    /// Where the store is to be, and whether that is the default place.
    pub(crate) fn place(&self) -> Result<(Place, bool), Failure> {
        let named = self.globals.store.clone().or_else(|| variable("PDKEYS_STORE").map(PathBuf::from));
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

    /// Opens the store, or makes it if this is the first use and the command is one that may.
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
            // Somebody else's first use was faster.
            Err(error) if matches!(error.kind(), ErrorKind::StoreExists(_)) => Ok(SqliteStore::open(place)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Says where a store was made, and what to keep of it.
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
        // Asked before the store is made: who has not the token that was announced makes none.
        let token = self.token()?;
        // A token comes out of a store that is there.
        let first_use = if token.is_some() { FirstUse::NeedsStore } else { first_use };
        let mut store = self.open(first_use)?;
        let done = self.act(&mut store, token, work);
        if let Some(fault) = store.usage_fault() {
            self.terminal.warning(&format!("it is not known when anything was last used: {fault}"));
        }
        done
    }

    /// Does the same in a store that is there, without a word about anything, and waits no longer than this where it is
    /// locked: for a shell that completes a line.
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
        match &self.globals.on_behalf_of {
            Some(user) => work(&mut session.on_behalf_of(user)),
            None => work(&mut { session }),
        }
    }

    /// The user token that was given, if one was: what is announced and missing is an error, never nothing.
    fn token(&self) -> Result<Option<Secret>, Failure> {
        let token = self.announced_token()?;
        if token.as_ref().is_some_and(Secret::is_empty) {
            return Err(pdkeys::Error::from(ErrorKind::from(Unidentified::Token(TokenRefusal::Empty))).into());
        }
        Ok(token)
    }

    /// Refuses a user token where a store is made, or put where none can be read: there is none that it could be of, and
    /// the operating-system user does not act in its place.
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
        if let Some(path) = &self.globals.token_file {
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

    /// Tries out what somebody is about to be asked about: whether it can be done, and by the acting user, is told
    /// before the question and not after it. Where nothing is asked, the doing tells it.
    pub(crate) fn rehearse<T>(
        &self,
        session: &mut Session<'_, SqliteStore>,
        work: impl FnOnce(&mut Session<'_, SqliteStore>) -> Result<T, pdkeys::Error>,
    ) -> Result<(), Failure> {
        if !self.globals.yes {
            session.rehearse(work)?;
        }
        Ok(())
    }

    /// Asks before what cannot be undone, or stops something that works.
    pub(crate) fn confirm(&self, what: &[String], question: &str) -> Result<(), Failure> {
        if self.globals.yes {
            return Ok(());
        }
        if !self.terminal.is_interactive() {
            return Err(Failure::not_confirmed("not confirmed, and nothing was done")
                .with_hint("--yes does it without asking"));
        }
        for line in what {
            self.terminal.show(line);
        }
        if self.terminal.confirm(question) {
            Ok(())
        } else {
            Err(Failure::not_confirmed("not confirmed, and nothing was done"))
        }
    }

    /// Asks before the same is done to several things, and names each once: by what it is called, and in full.
    pub(crate) fn confirm_all(
        &self,
        verb: &str,
        noun: Noun,
        consequence: &str,
        things: &[(String, String)],
    ) -> Result<(), Failure> {
        let mut seen = HashSet::new();
        let things: Vec<_> = things.iter().filter(|(called, _)| seen.insert(called)).collect();
        let mut what = vec![consequence.to_owned()];
        what.extend(things.iter().map(|(_, in_full)| format!("  {in_full}")));
        let question = match things.as_slice() {
            [(called, _)] => format!("{verb} {noun} {called}?"),
            many => format!("{verb} {} {noun}s?", many.len()),
        };
        self.confirm(&what, &question)
    }

    /// Says which scopes no operation needs: a slip of the finger, most likely, and a key that opens nothing.
    pub(crate) fn warn_of_unknown_scopes(
        &self,
        session: &mut Session<'_, SqliteStore>,
        scopes: Option<&ScopeSet>,
    ) -> Result<(), Failure> {
        let Some(scopes) = scopes else { return Ok(()) };
        if session.account()?.policy != Policy::PagerDuty {
            return Ok(());
        }
        for scope in scopes.iter() {
            if let Err(near) = known_scope(scope) {
                let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                self.terminal.warning(&format!("no operation of the policy pagerduty needs {scope}{near}"));
            }
        }
        Ok(())
    }

    /// Says why integration keys are not shown to somebody who may see them.
    pub(crate) fn warn_of_hidden_keys(&self, session: &mut Session<'_, SqliteStore>) {
        let Some(fault) = session.store_key_fault() else { return };
        let all = Target::all(Noun::Integration);
        let may_see = |acting: Acting| decide(acting.user(), Action::ShowIntegrationKey, &all);
        if session.whoami().is_ok_and(|acting| may_see(acting) == Decision::Allowed) {
            self.terminal.warning(&format!("integration keys are not shown: {fault}"));
        }
    }

    /// A value that must be given: asked for on a terminal, a usage error without one.
    pub(crate) fn required(
        &self,
        given: Option<String>,
        what: &str,
        preset: Option<&str>,
        check: impl Fn(&str) -> pdkeys::model::Result<()>,
    ) -> Result<String, Failure> {
        match given {
            Some(given) => Ok(given),
            None if self.terminal.is_interactive() => self.terminal.ask(what, preset, check),
            None => preset.map(str::to_owned).ok_or_else(|| missing(what)),
        }
    }

    /// The same, for what is more than text: the question says what an answer can be, and is asked again until it is
    /// one.
    pub(crate) fn required_as<T>(
        &self,
        given: Option<T>,
        what: &str,
        answers: &str,
        parse: impl Fn(&str) -> pdkeys::model::Result<T>,
    ) -> Result<T, Failure> {
        match given {
            Some(given) => Ok(given),
            None if self.terminal.is_interactive() => {
                let question = format!("{what} ({answers})");
                let answer = self.terminal.ask(&question, None, |text| parse(text).map(drop))?;
                Ok(parse(&answer)?)
            }
            None => Err(missing(what)),
        }
    }

    /// The name that something new must have.
    pub(crate) fn required_name(&self, noun: Noun, given: Option<String>) -> Result<Name, Failure> {
        let name = self.required(given, "Name", None, |text| Name::parse(noun, text).map(drop))?;
        Ok(Name::parse(noun, &name)?)
    }
}

fn missing(what: &str) -> Failure {
    Failure::usage(format!("{} is missing", what.to_lowercase()))
        .with_hint("without a terminal nothing is asked; --help shows what to give")
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[expect(clippy::disallowed_methods, reason = "this is where the command line reads its environment")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// The values of the variables that are this program's own.
pub(crate) fn settings() -> impl Iterator<Item = OsString> {
    env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PDKEYS_")).map(|(_, value)| value)
}

/// Whether the environment says that text is UTF-8.
pub(crate) fn locale_is_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty())
        .map(|value| value.to_string_lossy().to_lowercase());
    locale.is_some_and(|locale| locale.contains("utf-8") || locale.contains("utf8"))
}

/// The store in the platform's data directory.
fn default_database() -> Result<PathBuf, Failure> {
    let is_set = |name| variable(name).is_some_and(|value| Path::new(&value).is_absolute());
    let unknown = || {
        Failure::failed("there is no default place for the store: HOME is not set")
            .with_hint("set HOME, or name the store with --store or PDKEYS_STORE")
    };
    // Without HOME the directory would come from the password file: somewhere, but where nobody looks.
    if !is_set("HOME") && !is_set("XDG_DATA_HOME") {
        return Err(unknown());
    }
    let project = ProjectDirs::from("", "", "pdkeys").ok_or_else(unknown)?;
    Ok(project.data_dir().join("pdkeys.db"))
}

/// The operating-system user who acts: asked from the kernel, and behind sudo the one who called it, where the
/// process could do as it likes with the store in any case.
///
/// The file is the store's, or the directory that a store is to be made in. What is not there yet would be the
/// process's own.
pub(crate) fn os_user(file: &Path) -> Result<u32, Failure> {
    let real = rustix::process::getuid().as_raw();
    let effective = rustix::process::geteuid().as_raw();
    let Some(sudo_uid) = variable("SUDO_UID") else { return Ok(real) };
    let owner = match fs::metadata(file) {
        Ok(metadata) => Some(metadata.uid()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(effective),
        Err(_) => None,
    };
    let is_trusted = |uid: u32| uid == 0 || Some(uid) == owner;
    if !(is_trusted(real) && is_trusted(effective)) {
        return Ok(real);
    }
    sudo_uid.to_str().and_then(|uid| uid.parse().ok()).ok_or_else(|| {
        Failure::not_permitted("SUDO_UID is not a user id")
            .with_hint("sudo sets it; unset it to act as yourself")
    })
}

/// What an operating-system user is called, if that can be a user's name here.
pub(crate) fn login_name(uid: u32) -> Result<Name, Failure> {
    let login = uzers::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned());
    let name = login.and_then(|login| Name::parse(Noun::User, &login).ok());
    match name {
        Some(name) => Ok(name),
        None => Ok(Name::parse(Noun::User, &format!("uid-{uid}"))?),
    }
}

/// An operating-system user by login name or number.
pub(crate) fn uid_of(login: &str) -> Result<u32, Failure> {
    if let Ok(uid) = login.parse() {
        return Ok(uid);
    }
    uzers::get_user_by_name(login).map(|user| user.uid()).ok_or_else(|| {
        Failure::usage(format!("there is no operating-system user {login}"))
            .with_hint("a number is taken as it is")
    })
}
