//! A store with an account in it, a clock that the test turns, and credentials of every kind.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use pdkeys::Result;
use pdkeys::manage::{
    DestinationKind, DestinationSelector, Founding, Identity, NewIntegration, Session, UserSpec,
};
use pdkeys::model::{
    Access, AppSpec, IntegrationType, KeySpec, Name, Noun, Policy, RateLimit, Role, Scope, ScopeSet, Secret,
    TokenSpec,
};
use pdkeys::ports::{Clock, SystemEntropy};
use pdkeys::store::{Place, sqlite::SqliteStore};
use pdkeys::verify::{Api, Presented, Request, UsageRecording, Verdict, Verifier};
use tempfile::TempDir;

/// A clock that stands still until it is turned.
#[derive(Clone, Debug)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::Relaxed)).unwrap()
    }
}

/// Something that can be presented, and the id by which it is managed.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) secret: String,
}

pub(crate) struct World {
    directory: TempDir,
    pub(crate) clock: TestClock,
}

const fn uid_of(role: Role) -> u32 {
    5000 + role as u32
}

pub(crate) fn scopes(text: &str) -> ScopeSet {
    text.parse().unwrap()
}

pub(crate) fn every_scope() -> ScopeSet {
    pdkeys::verify::operations().iter().flat_map(|operation| operation.needed.iter().cloned()).collect()
}

/// A request to the REST API, as a program makes it that checks for itself.
pub(crate) fn rest<'r>(secret: &str, method: &'r str, path: &'r str) -> Request<'r> {
    Request {
        api: Api::Rest,
        presented: Presented::parse(secret.as_bytes()),
        method,
        path: path.as_bytes(),
        via_gateway: false,
    }
}

/// An event.
pub(crate) fn event(secret: &str, api: Api) -> Request<'static> {
    Request { api, ..rest(secret, "", "") }
}

impl World {
    /// An account with a user of every role, called after it.
    pub(crate) fn new() -> Self {
        let clock = TestClock(Arc::new(AtomicI64::new(1_772_366_400_000)));
        let world = Self { directory: TempDir::new().unwrap(), clock };
        let founding = Founding {
            account: Name::parse(Noun::Account, "acme").unwrap(),
            policy: Policy::PagerDuty,
            owner: Name::parse(Noun::User, "owner").unwrap(),
            os_uid: uid_of(Role::Owner),
        };
        founding.make_store::<SqliteStore>(&world.place(), &world.clock, &mut SystemEntropy).unwrap();
        world.act(|session| {
            for role in Role::ALL.into_iter().filter(|role| *role != Role::Owner) {
                session.add_user(UserSpec {
                    name: Name::parse(Noun::User, role.as_str())?,
                    role,
                    email: None,
                    os_uid: Some(uid_of(role)),
                    external_id: None,
                    rate_limit: None,
                })?;
            }
            Ok(())
        });
        world
    }

    pub(crate) fn place(&self) -> Place {
        Place::new(self.directory.path().join("pdkeys.db"))
    }

    /// Runs the program on the store as the Account Owner, in a process of its own.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pdkeys"));
        command.args(arguments).env("PDKEYS_STORE", self.place().database());
        command.env("SUDO_UID", uid_of(Role::Owner).to_string()).output().unwrap()
    }

    pub(crate) fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.place()).unwrap()
    }

    /// Lets time go by.
    pub(crate) fn wait(&self, length: SignedDuration) {
        let milliseconds = i64::try_from(length.as_millis()).unwrap();
        self.clock.0.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Does something as the Account Owner.
    #[track_caller]
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut Session<'_, SqliteStore>) -> Result<T>) -> T {
        self.try_as(Role::Owner, act).unwrap()
    }

    /// Tries something as the user of a role.
    pub(crate) fn try_as<T>(
        &self,
        role: Role,
        act: impl FnOnce(&mut Session<'_, SqliteStore>) -> Result<T>,
    ) -> Result<T> {
        let (mut store, mut entropy) = (self.store(), SystemEntropy);
        act(&mut Session::begin(&mut store, Identity::OsUser(uid_of(role)), &self.clock, &mut entropy)?)
    }

    pub(crate) fn verifier(&self, counting: UsageRecording) -> Verifier<SqliteStore> {
        let place = self.place();
        Verifier::new(self.store(), move || SqliteStore::open(&place), counting, self.clock.clone()).unwrap()
    }

    /// What somebody who checks once is answered.
    pub(crate) fn check(&self, request: &Request<'_>) -> Verdict {
        self.verifier(UsageRecording::InStore).verify(request).unwrap()
    }

    pub(crate) fn key(&self, access: Access, rate_limit: Option<RateLimit>) -> Made {
        let spec =
            KeySpec { description: "nightly deploy".parse().unwrap(), access, expires_at: None, rate_limit };
        self.act(|session| capture(|out| Ok(session.create_key(spec, &mut hand_to(out))?.id.to_string())))
    }

    pub(crate) fn token(&self, role: Role, access: Access) -> Made {
        let spec = TokenSpec { description: "laptop".parse().unwrap(), access, expires_at: None };
        let create = |session: &mut Session<'_, SqliteStore>| {
            let spec = spec.clone();
            capture(|out| Ok(session.create_token(None, spec, &mut hand_to(out))?.id.to_string()))
        };
        if let Ok(token) = self.try_as(role, create) {
            return token;
        }
        // The one role that may make none can have had another when it made some.
        self.set_role(role.as_str(), Role::Admin);
        let token = self.try_as(role, create).unwrap();
        self.set_role(role.as_str(), role);
        token
    }

    pub(crate) fn set_role(&self, user: &str, role: Role) {
        let edit = pdkeys::model::UserEdit { role: Some(role), ..Default::default() };
        self.act(|session| session.edit_user(user, edit));
    }

    pub(crate) fn user_id(&self, name: &str) -> String {
        self.act(|session| session.user(name)).id.to_string()
    }

    /// Registers an app; what is made is its client secret.
    pub(crate) fn app(&self, name: &str, scopes: ScopeSet, rate_limit: Option<RateLimit>) -> Made {
        let name = Name::parse(Noun::App, name).unwrap();
        let spec = AppSpec { name, description: None, scopes, rate_limit };
        self.act(|session| capture(|out| Ok(session.register_app(spec, &mut hand_to(out))?.id.to_string())))
    }

    pub(crate) fn app_token(&self, app: &str, scopes: Option<ScopeSet>) -> Made {
        self.act(|session| {
            capture(|out| Ok(session.issue_app_token(app, scopes, &mut hand_to(out))?.app.to_string()))
        })
    }

    /// An integration, into the service `web` or the orchestration `router`.
    pub(crate) fn integration(&self, kind: DestinationKind, rate_limit: Option<RateLimit>) -> Made {
        let name = if kind == DestinationKind::Service { "web" } else { "router" };
        self.act(|session| {
            if session.destination(kind, name).is_err() {
                let name = Name::parse(kind.noun(), name)?;
                session.create_destination(kind, name, None, None, &mut |_, _| Ok(()))?;
            }
            let new = NewIntegration {
                name: Name::parse(Noun::Integration, "events")?,
                kind: IntegrationType::EventsApiV2,
                rate_limit,
            };
            let place = DestinationSelector { kind, reference: name.to_owned() };
            capture(|out| Ok(session.create_integration(&place, new, &mut hand_to(out))?.id.to_string()))
        })
    }
}

/// Takes what is handed over into a text.
pub(crate) fn hand_to<T>(out: &mut String) -> impl FnMut(&T, &Secret) -> std::io::Result<()> {
    |_, secret| {
        let mut bytes = Vec::new();
        secret.write_to(&mut bytes)?;
        String::from_utf8(bytes).unwrap().trim_end().clone_into(out);
        Ok(())
    }
}

/// Makes something whose secret is handed over.
pub(crate) fn capture(make: impl FnOnce(&mut String) -> Result<String>) -> Result<Made> {
    let mut secret = String::new();
    let id = make(&mut secret)?;
    Ok(Made { id, secret })
}

/// A scope alone.
pub(crate) fn only(scope: &Scope) -> Access {
    Access::Scopes([scope.clone()].into_iter().collect())
}
