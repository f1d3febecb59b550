//! The table as the sessions ask it: every method, for a user of every role.

use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use pdkeys::authz::{Action, Decision, NotPermitted, Target, decide};
use pdkeys::manage::{
    Checkup, DestinationKind, DestinationSelector, Entries, Founding, Identity, ImportMode, KeyEntry, Line,
    Material, NewIntegration, Session, UserEntry, UserSpec, Whose,
};
use pdkeys::model::{
    Access, AccountEdit, AppEdit, AppSpec, CredentialKind, DestinationEdit, Fingerprint, GeneralKey,
    IntegrationType, KeyEdit, KeySpec, Name, Noun, Policy, Role, TokenEdit, TokenSpec, User, UserEdit,
};
use pdkeys::ports::{Clock, SystemEntropy};
use pdkeys::store::{AuditQuery, KeyQuery, Place, ReadTx as _, Store as _, UserBy, sqlite::SqliteStore};
use pdkeys::{ErrorKind, Result};
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }
}

/// A store with a user of every role, named and mapped after it, another admin, another Observer, and three keys; a
/// token of each of the other two; the services `web`, with an integration, and `idle`; the orchestration `router`; the
/// app `ci`, with an overlap, of which a Manager holds the scope, and `hr`, of which only admins do.
struct Cast {
    directory: TempDir,
    active: String,
    disabled: String,
    overlapping: String,
    /// Tokens of the other admin and of the other Observer, each with an overlap.
    tokens: [String; 2],
    /// An integration into the service `web`.
    integration: String,
    /// The app `ci`.
    app: String,
}

const fn uid_of(role: Role) -> u32 {
    5000 + role as u32
}

fn place(directory: &Path) -> Place {
    Place::new(directory.join("pdkeys.db"))
}

fn user_name(text: &str) -> Name {
    Name::parse(Noun::User, text).unwrap()
}

fn new_user(name: &str, role: Role, os_uid: Option<u32>) -> UserSpec {
    UserSpec { name: user_name(name), role, email: None, os_uid, external_id: None, rate_limit: None }
}

fn new_key() -> KeySpec {
    KeySpec {
        description: "nightly deploy".parse().unwrap(),
        access: Access::Full,
        expires_at: None,
        rate_limit: None,
    }
}

fn new_token() -> TokenSpec {
    TokenSpec { description: "laptop".parse().unwrap(), access: Access::Role(None), expires_at: None }
}

fn place_name(kind: DestinationKind, name: &str) -> Name {
    Name::parse(kind.noun(), name).unwrap()
}

fn new_integration() -> NewIntegration {
    let name = Name::parse(Noun::Integration, "alerts").unwrap();
    NewIntegration { name, kind: IntegrationType::EventsApiV2, rate_limit: None }
}

fn into(service: &str) -> DestinationSelector {
    DestinationSelector { kind: DestinationKind::Service, reference: service.to_owned() }
}

/// Begins a session, does one thing in it, and ends it.
fn act_as<T>(
    store: &mut SqliteStore,
    role: Role,
    act: impl FnOnce(&mut Session<'_, SqliteStore>) -> Result<T>,
) -> Result<T> {
    let mut entropy = SystemEntropy;
    act(&mut Session::begin(store, Identity::OsUser(uid_of(role)), &Frozen, &mut entropy)?)
}

impl Cast {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let founding = Founding {
            account: Name::parse(Noun::Account, "acme").unwrap(),
            policy: Policy::PagerDuty,
            owner: user_name("owner"),
            os_uid: uid_of(Role::Owner),
        };
        let mut store: SqliteStore =
            founding.make_store(&place(directory.path()), &Frozen, &mut SystemEntropy).unwrap();
        let [active, disabled, overlapping] = act_as(&mut store, Role::Owner, |session| {
            for role in Role::ALL.into_iter().filter(|role| *role != Role::Owner) {
                session.add_user(new_user(role.as_str(), role, Some(uid_of(role))))?;
            }
            session.add_user(new_user("other-admin", Role::Admin, None))?;
            session.add_user(new_user("other-observer", Role::Observer, None))?;
            let mut make = || session.create_key(new_key(), &mut |_, _| Ok(())).map(|key| key.id.to_string());
            let ids = [make()?, make()?, make()?];
            session.disable_keys(&ids[1..2], None)?;
            session.rotate_key(&ids[2], Some(SignedDuration::from_hours(1)), &mut |_, _| Ok(()))?;
            Ok(ids)
        })
        .unwrap();
        let tokens = ["other-admin", "other-observer"].map(|user| {
            let mut entropy = SystemEntropy;
            let identity = Identity::OsUser(uid_of(Role::Owner));
            let mut session =
                Session::begin(&mut store, identity, &Frozen, &mut entropy).unwrap().on_behalf_of(user);
            let id = session.create_token(None, new_token(), &mut |_, _| Ok(())).unwrap().id.to_string();
            session.rotate_token(&id, Some(SignedDuration::from_hours(1)), &mut |_, _| Ok(())).unwrap();
            id
        });
        let app = act_as(&mut store, Role::Owner, |session| {
            session.register_app(new_app("hr", SCOPE_OF_HR), &mut |_, _| Ok(()))?;
            let ci = session.register_app(new_app("ci", SCOPE_OF_CI), &mut |_, _| Ok(()))?;
            session.rotate_app("ci", Some(SignedDuration::from_hours(1)), &mut |_, _| Ok(()))?;
            Ok(ci.id.to_string())
        })
        .unwrap();
        let integration = act_as(&mut store, Role::Owner, |session| {
            for (kind, name) in [
                (DestinationKind::Service, "web"),
                (DestinationKind::Service, "idle"),
                (DestinationKind::Orchestration, "router"),
            ] {
                session.create_destination(kind, place_name(kind, name), None, None, &mut |_, _| Ok(()))?;
            }
            session.create_integration(&into("web"), new_integration(), &mut |_, _| Ok(()))
        })
        .unwrap()
        .id
        .to_string();
        Self { directory, active, disabled, overlapping, tokens, integration, app }
    }

    /// A copy of the store, for one attempt.
    fn copy(&self) -> (TempDir, SqliteStore) {
        let copy = TempDir::new().unwrap();
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let store = SqliteStore::open(&place(copy.path())).unwrap();
        (copy, store)
    }
}

/// Everything in the database, tables and rows.
fn dump(directory: &Path) -> String {
    let connection = Connection::open(place(directory).database()).unwrap();
    let mut names =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut dump = String::new();
    for name in names {
        writeln!(dump, "{name}").unwrap();
        let mut statement = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<Value> = (0..columns).map(|column| row.get(column).unwrap()).collect();
            writeln!(dump, "{values:?}").unwrap();
        }
    }
    dump
}

/// One thing that somebody attempts, and what the table is asked about it.
struct Attempt {
    what: &'static str,
    action: Action,
    target: fn(&Named) -> Target,
    act: fn(&mut Session<'_, SqliteStore>, &Cast) -> Result<()>,
    outcome: WhenPermitted,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum WhenPermitted {
    Reads,
    Changes,
    /// With its integration, which has a record of its own.
    ChangesTwice,
    /// Permitted, but there is always exactly one owner.
    Conflicts,
}

/// The users that a target may belong to.
struct Named {
    acting: User,
    owner: User,
    other_admin: User,
    other_observer: User,
}

impl Named {
    fn of(store: &mut SqliteStore, role: Role) -> Self {
        let tx = store.read().unwrap();
        let named = |name: &str| tx.user(UserBy::Name(name)).unwrap().unwrap();
        Self {
            acting: named(role.as_str()),
            owner: named("owner"),
            other_admin: named("other-admin"),
            other_observer: named("other-observer"),
        }
    }
}

fn keys(_: &Named) -> Target {
    Target::all(Noun::GeneralKey)
}

fn users(_: &Named) -> Target {
    Target::all(Noun::User)
}

fn account(_: &Named) -> Target {
    Target::all(Noun::Account)
}

fn oneself(named: &Named) -> Target {
    users(named).belonging_to(&named.acting)
}

fn the_owner(named: &Named) -> Target {
    users(named).belonging_to(&named.owner)
}

fn an_admin(named: &Named) -> Target {
    users(named).belonging_to(&named.other_admin)
}

fn an_observer(named: &Named) -> Target {
    users(named).belonging_to(&named.other_observer)
}

fn destinations(_: &Named) -> Target {
    Target::all(Noun::Service)
}

fn integrations(_: &Named) -> Target {
    Target::all(Noun::Integration)
}

const SCOPE_OF_CI: &str = "incidents.read";
const SCOPE_OF_HR: &str = "users.write";

fn app_ci(_: &Named) -> Target {
    Target::all(Noun::App).with_scopes(&SCOPE_OF_CI.parse().unwrap())
}

fn app_hr(_: &Named) -> Target {
    Target::all(Noun::App).with_scopes(&SCOPE_OF_HR.parse().unwrap())
}

fn new_app(name: &str, scope: &str) -> AppSpec {
    let name = Name::parse(Noun::App, name).unwrap();
    AppSpec { name, description: None, scopes: scope.parse().unwrap(), rate_limit: None }
}

fn describe_app(session: &mut Session<'_, SqliteStore>, name: &str) -> Result<()> {
    let edit = AppEdit { description: Some(Some("x".parse().unwrap())), ..AppEdit::default() };
    session.edit_app(name, edit).map(drop)
}

/// A day after everything was made.
fn tomorrow() -> Timestamp {
    Frozen.now() + SignedDuration::from_hours(24)
}

fn make(session: &mut Session<'_, SqliteStore>, kind: DestinationKind) -> Result<()> {
    session.create_destination(kind, place_name(kind, "new"), None, None, &mut |_, _| Ok(())).map(drop)
}

fn rename(session: &mut Session<'_, SqliteStore>, kind: DestinationKind, name: &str) -> Result<()> {
    let edit = DestinationEdit { name: Some(place_name(kind, "new")), ..DestinationEdit::default() };
    session.edit_destination(kind, name, edit).map(drop)
}

fn own_token(named: &Named) -> Target {
    Target::all(Noun::UserToken).belonging_to(&named.acting)
}

fn token_of_an_admin(named: &Named) -> Target {
    Target::all(Noun::UserToken).belonging_to(&named.other_admin)
}

fn token_of_an_observer(named: &Named) -> Target {
    Target::all(Noun::UserToken).belonging_to(&named.other_observer)
}

fn named(name: &str, edit: UserEdit, session: &mut Session<'_, SqliteStore>) -> Result<()> {
    session.edit_user(name, edit).map(drop)
}

fn email() -> UserEdit {
    UserEdit { email: Some(Some("new@example.org".parse().unwrap())), ..UserEdit::default() }
}

fn role(role: Role) -> UserEdit {
    UserEdit { role: Some(role), ..UserEdit::default() }
}

fn one(id: &str) -> [String; 1] {
    [id.to_owned()]
}

/// One entry of an import.
struct Given<T>(Option<T>);

impl<T> Entries<T> for Given<T> {
    fn next(&mut self) -> Result<Option<Line<T>>> {
        Ok(self.0.take().map(|entry| Line { number: 1, entry: Ok(entry) }))
    }

    fn sha256(&self) -> [u8; 32] {
        [7; 32]
    }
}

fn key_entry(kind: CredentialKind, owner: Option<&str>) -> KeyEntry {
    KeyEntry {
        kind,
        material: Material::Sha256(Fingerprint::of_sha256([9; 32])),
        description: "taken over".parse().unwrap(),
        access: if owner.is_some() { Access::Role(None) } else { Access::Full },
        owner: owner.map(str::to_owned),
        created_at: None,
        expires_at: None,
    }
}

#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a table, and an attempt is a row of it")]
fn attempts() -> Vec<Attempt> {
    use Action::{
        CreateIntegration, CreateOrchestration, CreateService, CreateUserToken, EditOrchestration, EditService, EditUserToken,
        ListIntegrations, ListOrchestrations, ListServices, ListUserTokens, MoveIntegration, RemoveIntegration,
        RemoveOrchestration, RemoveService, RemoveUserToken, RotateUserToken, ShowIntegration, ShowOrchestration, ShowService,
        ShowUserToken, ActAsUser, AddUser, ChangeAccount, CreateGeneralKey, DisableGeneralKey, EditGeneralKey, EditUser, EnableGeneralKey,
        ListGeneralKeys, ReadAudit, RemoveGeneralKey, RemoveUser, RotateGeneralKey, SetUserRole, ShowAccount, ShowGeneralKey,
        EditApp, IssueAppToken, ListApps, RegisterApp, RemoveApp, RotateApp, SeeIntegrationUsage, SeeUsage, ShowApp,
        ShowUser, TransferAccount, VerifyAudit, BackUp, Restore, RunDoctor, Export, Import,
    };
    use WhenPermitted::{Changes, ChangesTwice, Conflicts, Reads};
    let attempt = |what, action, target, outcome, act| Attempt { what, action, target, act, outcome };
    vec![
        attempt("create a key", CreateGeneralKey, keys, Changes, |s, _| {
            let mut handed_over = false;
            let outcome = s.create_key(new_key(), &mut |_: &GeneralKey, _| { handed_over = true; Ok(()) });
            assert_eq!(outcome.is_ok(), handed_over, "a secret goes out with a key, and only then");
            outcome.map(drop)
        }),
        attempt("disable a key", DisableGeneralKey, keys, Changes, |s, c| s.disable_keys(&one(&c.active), None).map(drop)),
        attempt("enable a key", EnableGeneralKey, keys, Changes, |s, c| s.enable_keys(&one(&c.disabled)).map(drop)),
        attempt("edit a key", EditGeneralKey, keys, Changes, |s, c| {
            s.edit_key(&c.active, KeyEdit { access: Some(Access::ReadOnly), ..KeyEdit::default() }).map(drop)
        }),
        attempt("rotate a key", RotateGeneralKey, keys, Changes, |s, c| {
            let mut handed_over = false;
            let outcome = s.rotate_key(&c.active, None, &mut |_, _| { handed_over = true; Ok(()) });
            assert_eq!(outcome.is_ok(), handed_over, "a secret goes out with a rotation, and only then");
            outcome.map(drop)
        }),
        attempt("end an overlap", RotateGeneralKey, keys, Changes, |s, c| s.end_overlap(&c.overlapping).map(drop)),
        attempt("remove a key", RemoveGeneralKey, keys, Changes, |s, c| s.remove_keys(&one(&c.active), None).map(drop)),
        attempt("list keys", ListGeneralKeys, keys, Reads, |s, _| {
            let mut shown = 0;
            let outcome = s.list_keys(&KeyQuery::all(s.at()), &mut |_| {
                shown += 1;
                Ok(ControlFlow::Continue(()))
            });
            assert_eq!(shown, if outcome.is_ok() { 3 } else { 0 });
            outcome
        }),
        attempt("show a key", ShowGeneralKey, keys, Reads, |s, c| s.key(&c.active).map(drop)),

        attempt("make a token", CreateUserToken, own_token, Changes, |s, _| {
            let mut handed_over = false;
            let outcome = s.create_token(None, new_token(), &mut |_, _| { handed_over = true; Ok(()) });
            assert_eq!(outcome.is_ok(), handed_over, "a secret goes out with a token, and only then");
            outcome.map(drop)
        }),
        attempt("list one's own tokens", ListUserTokens, own_token, Reads, |s, _| {
            s.list_tokens(&Whose::Own, &mut |_| Ok(ControlFlow::Continue(())))
        }),
        attempt("list everybody's tokens", ListUserTokens, |_| Target::all(Noun::UserToken), Reads, |s, _| {
            let mut shown = 0;
            let outcome = s.list_tokens(&Whose::All, &mut |_| { shown += 1; Ok(ControlFlow::Continue(())) });
            assert_eq!(shown, if outcome.is_ok() { 2 } else { 0 });
            outcome
        }),
        attempt("show an admin's token", ShowUserToken, token_of_an_admin, Reads, |s, c| s.token(&c.tokens[0]).map(drop)),
        attempt("show an observer's token", ShowUserToken, token_of_an_observer, Reads, |s, c| s.token(&c.tokens[1]).map(drop)),
        attempt("edit an observer's token", EditUserToken, token_of_an_observer, Changes, |s, c| {
            s.edit_token(&c.tokens[1], TokenEdit { description: Some("x".parse().unwrap()), ..TokenEdit::default() }).map(drop)
        }),
        attempt("rotate an observer's token", RotateUserToken, token_of_an_observer, Changes, |s, c| {
            let outcome = s.rotate_token(&c.tokens[1], None, &mut |_, _| panic!("a secret went out"));
            outcome.map(drop)
        }),
        attempt("end the overlap of an observer's token", RotateUserToken, token_of_an_observer, Changes, |s, c| {
            s.end_token_overlap(&c.tokens[1]).map(drop)
        }),
        attempt("remove an admin's token", RemoveUserToken, token_of_an_admin, Changes, |s, c| {
            s.remove_tokens(&one(&c.tokens[0]), None).map(drop)
        }),
        attempt("remove an observer's token", RemoveUserToken, token_of_an_observer, Changes, |s, c| {
            s.remove_tokens(&one(&c.tokens[1]), None).map(drop)
        }),

        attempt("make a service", CreateService, destinations, Changes, |s, _| make(s, DestinationKind::Service)),
        attempt("make an orchestration", CreateOrchestration, destinations, ChangesTwice, |s, _| make(s, DestinationKind::Orchestration)),
        attempt("list services", ListServices, destinations, Reads, |s, _| s.destinations_with_integrations(DestinationKind::Service).map(drop)),
        attempt("list services alone", ListServices, destinations, Reads, |s, _| {
            s.list_destinations(DestinationKind::Service, &mut |_| Ok(ControlFlow::Continue(())))
        }),
        attempt("list orchestrations", ListOrchestrations, destinations, Reads, |s, _| {
            s.destinations_with_integrations(DestinationKind::Orchestration).map(drop)
        }),
        attempt("list orchestrations alone", ListOrchestrations, destinations, Reads, |s, _| {
            s.list_destinations(DestinationKind::Orchestration, &mut |_| Ok(ControlFlow::Continue(())))
        }),
        attempt("show a service", ShowService, destinations, Reads, |s, _| s.destination(DestinationKind::Service, "web").map(drop)),
        attempt("show an orchestration", ShowOrchestration, destinations, Reads, |s, _| {
            s.destination(DestinationKind::Orchestration, "router").map(drop)
        }),
        attempt("edit a service", EditService, destinations, Changes, |s, _| rename(s, DestinationKind::Service, "web")),
        attempt("edit an orchestration", EditOrchestration, destinations, Changes, |s, _| rename(s, DestinationKind::Orchestration, "router")),
        attempt("remove a service", RemoveService, destinations, Changes, |s, _| {
            s.remove_destination(DestinationKind::Service, "idle", false, None).map(drop)
        }),
        attempt("remove an orchestration", RemoveOrchestration, destinations, ChangesTwice, |s, _| {
            s.remove_destination(DestinationKind::Orchestration, "router", true, None).map(drop)
        }),
        attempt("make an integration", CreateIntegration, integrations, Changes, |s, _| {
            let mut handed_over = false;
            let outcome =
                s.create_integration(&into("web"), new_integration(), &mut |_, _| { handed_over = true; Ok(()) });
            assert_eq!(outcome.is_ok(), handed_over, "a key goes out with an integration, and only then");
            outcome.map(drop)
        }),
        attempt("list integrations", ListIntegrations, integrations, Reads, |s, _| {
            s.list_integrations(None, &mut |_| Ok(ControlFlow::Continue(())))
        }),
        attempt("show an integration", ShowIntegration, integrations, Reads, |s, c| s.integration(&c.integration).map(drop)),
        attempt("move an integration", MoveIntegration, integrations, Changes, |s, c| {
            s.move_integration(&c.integration, &into("idle")).map(drop)
        }),
        attempt("remove an integration", RemoveIntegration, integrations, Changes, |s, c| {
            s.remove_integrations(&one(&c.integration), None).map(drop)
        }),

        attempt("register an app", RegisterApp, app_ci, Changes, |s, _| {
            let mut handed_over = false;
            let outcome = s.register_app(new_app("new", SCOPE_OF_CI), &mut |_, _| { handed_over = true; Ok(()) });
            assert_eq!(outcome.is_ok(), handed_over, "a client secret goes out with an app, and only then");
            outcome.map(drop)
        }),
        attempt("register an app with a scope of admins", RegisterApp, app_hr, Changes, |s, _| {
            s.register_app(new_app("new", SCOPE_OF_HR), &mut |_, _| Ok(())).map(drop)
        }),
        attempt("list apps", ListApps, |_| Target::all(Noun::App), Reads, |s, _| {
            let is_manager = s.whoami()?.user().role == Role::User;
            let mut shown = 0;
            let outcome = s.list_apps(&mut |_| { shown += 1; Ok(ControlFlow::Continue(())) });
            assert_eq!(shown, match &outcome { Ok(()) if is_manager => 1, Ok(()) => 2, Err(_) => 0 });
            outcome
        }),
        attempt("show an app", ShowApp, app_ci, Reads, |s, _| s.app("ci").map(drop)),
        attempt("show the admins' app", ShowApp, app_hr, Reads, |s, _| s.app("hr").map(drop)),
        attempt("edit an app", EditApp, app_ci, Changes, |s, _| describe_app(s, "ci")),
        attempt("edit the admins' app", EditApp, app_hr, Changes, |s, _| describe_app(s, "hr")),
        attempt("rotate an app", RotateApp, app_ci, Changes, |s, _| {
            let mut handed_over = false;
            let outcome = s.rotate_app("ci", None, &mut |_, _| { handed_over = true; Ok(()) });
            assert_eq!(outcome.is_ok(), handed_over, "a client secret goes out with a rotation, and only then");
            outcome.map(drop)
        }),
        attempt("rotate the admins' app", RotateApp, app_hr, Changes, |s, _| {
            s.rotate_app("hr", None, &mut |_, _| Ok(())).map(drop)
        }),
        attempt("end the overlap of an app", RotateApp, app_ci, Changes, |s, _| s.end_app_overlap("ci").map(drop)),
        attempt("remove an app", RemoveApp, app_ci, Changes, |s, _| s.remove_apps(&one("ci"), None).map(drop)),
        attempt("remove the admins' app", RemoveApp, app_hr, Changes, |s, _| s.remove_apps(&one("hr"), None).map(drop)),
        attempt("issue a token of an app", IssueAppToken, app_ci, Changes, |s, _| {
            let mut handed_over = false;
            let outcome = s.issue_app_token("ci", None, &mut |_, _| { handed_over = true; Ok(()) });
            assert_eq!(outcome.is_ok(), handed_over, "a token goes out when it is issued, and only then");
            outcome.map(drop)
        }),
        attempt("issue a token of the admins' app", IssueAppToken, app_hr, Changes, |s, _| {
            s.issue_app_token("hr", None, &mut |_, _| Ok(())).map(drop)
        }),

        attempt("see what a key did", SeeUsage, keys, Reads, |s, c| s.usage_of(&c.active, Frozen.now()).map(drop)),
        attempt("see when a key did it", SeeUsage, keys, Reads, |s, c| s.usage_by_hour(Some(&c.active), Frozen.now()).map(drop)),
        attempt("see the usage of an admin's token", SeeUsage, token_of_an_admin, Reads, |s, c| {
            s.usage_of(&c.tokens[0], Frozen.now()).map(drop)
        }),
        attempt("see the usage of an observer's token", SeeUsage, token_of_an_observer, Reads, |s, c| {
            s.usage_by_hour(Some(&c.tokens[1]), Frozen.now()).map(drop)
        }),
        attempt("see what an app did", SeeUsage, |_| Target::all(Noun::App), Reads, |s, c| s.usage_of(&c.app, Frozen.now()).map(drop)),
        attempt("see what an integration did", SeeIntegrationUsage, integrations, Reads, |s, c| {
            s.usage_of(&c.integration, Frozen.now()).map(drop)
        }),
        // Of which each sees what the table lets them see: here nobody who is asked has a token.
        attempt("see what is not used", SeeUsage, oneself, Reads, |s, _| {
            let expected = match s.whoami()?.user().role {
                Role::Owner | Role::Admin => 3 + 2 + 2 + 2,
                Role::User => 2,
                _ => 0,
            };
            let mut shown = 0;
            s.unused(tomorrow(), &mut |_| { shown += 1; Ok(ControlFlow::Continue(())) })?;
            assert_eq!(shown, expected, "keys, tokens, integrations and apps");
            Ok(())
        }),

        attempt("show the owner", ShowUser, the_owner, Reads, |s, _| s.user("owner").map(drop)),
        attempt("show an admin", ShowUser, an_admin, Reads, |s, _| s.user("other-admin").map(drop)),
        attempt("show an observer", ShowUser, an_observer, Reads, |s, _| s.user("other-observer").map(drop)),
        attempt("show oneself", ShowUser, oneself, Reads, |s, _| {
            let acting = s.whoami()?.user().clone();
            assert_eq!(s.user(&acting.id.to_string().to_lowercase())?, acting);
            s.user(acting.name.as_str()).map(drop)
        }),
        attempt("add an observer", AddUser, |n| users(n).granting(Role::Observer), Changes, |s, _| {
            s.add_user(new_user("new", Role::Observer, None)).map(drop)
        }),
        attempt("add an admin", AddUser, |n| users(n).granting(Role::Admin), Changes, |s, _| {
            s.add_user(new_user("new", Role::Admin, None)).map(drop)
        }),
        attempt("add an owner", AddUser, |n| users(n).granting(Role::Owner), Conflicts, |s, _| {
            s.add_user(new_user("new", Role::Owner, None)).map(drop)
        }),
        attempt("edit oneself", EditUser, oneself, Changes, |s, _| {
            let own = s.whoami()?.user().name.to_string();
            named(&own, email(), s)
        }),
        attempt("edit the owner", EditUser, the_owner, Changes, |s, _| named("owner", email(), s)),
        attempt("edit an admin", EditUser, an_admin, Changes, |s, _| named("other-admin", email(), s)),
        attempt("edit an observer", EditUser, an_observer, Changes, |s, _| named("other-observer", email(), s)),
        attempt("make an observer an admin", SetUserRole, |n| an_observer(n).granting(Role::Admin), Changes, |s, _| {
            named("other-observer", role(Role::Admin), s)
        }),
        attempt("make an admin an observer", SetUserRole, |n| an_admin(n).granting(Role::Observer), Changes, |s, _| {
            named("other-admin", role(Role::Observer), s)
        }),
        attempt("make an observer the owner", SetUserRole, |n| an_observer(n).granting(Role::Owner), Conflicts, |s, _| {
            named("other-observer", role(Role::Owner), s)
        }),
        attempt("make the owner an admin", SetUserRole, |n| the_owner(n).granting(Role::Admin), Conflicts, |s, _| {
            named("owner", role(Role::Admin), s)
        }),
        attempt("make oneself the owner", SetUserRole, |n| oneself(n).granting(Role::Owner),
            Conflicts, |s, _| {
            let own = s.whoami()?.user().name.to_string();
            named(&own, role(Role::Owner), s)
        }),
        attempt("remove an observer", RemoveUser, an_observer, Changes, |s, _| s.remove_users(&one("other-observer"), None).map(drop)),
        attempt("remove an admin", RemoveUser, an_admin, Changes, |s, _| s.remove_users(&one("other-admin"), None).map(drop)),
        attempt("remove the owner", RemoveUser, the_owner, Conflicts, |s, _| s.remove_users(&one("owner"), None).map(drop)),

        attempt("see the account", ShowAccount, account, Reads, |s, _| s.account().map(drop)),
        attempt("change settings", ChangeAccount, account, Changes, |s, _| {
            s.edit_account(AccountEdit { rest_api: Some(false), ..AccountEdit::default() }).map(drop)
        }),
        attempt("transfer the account", TransferAccount, account, Changes, |s, _| s.transfer_account("other-observer").map(drop)),
        attempt("read the audit trail", ReadAudit, account, Reads, |s, _| {
            let mut shown = 0;
            let outcome = s.list_audit(&AuditQuery::default(), &mut |_| { shown += 1; Ok(ControlFlow::Continue(())) });
            assert_eq!(shown > 0, outcome.is_ok());
            outcome
        }),
        attempt("see the end of the audit trail", ReadAudit, account, Reads, |s, _| s.audit_head().map(drop)),
        attempt("verify the audit trail", VerifyAudit, account, Reads, |s, _| s.verify_audit(None).map(drop)),
        attempt("export keys", Export, account, Reads, |s, _| s.export_keys(&mut |_| Ok(ControlFlow::Continue(())))),
        attempt("export users", Export, account, Reads, |s, _| s.export_users(&mut |_| Ok(ControlFlow::Continue(())))),
        attempt("export services", Export, account, Reads, |s, _| s.export_destinations(&mut |_| Ok(ControlFlow::Continue(())))),
        attempt("export the audit trail", Export, account, Reads, |s, _| s.export_audit(&mut |_| Ok(ControlFlow::Continue(())))),
        attempt("import a key", Import, account, Changes, |s, _| {
            s.import_keys(&mut Given(Some(key_entry(CredentialKind::General, None))), ImportMode::default(), &mut |_, _| Ok(())).map(drop)
        }),
        attempt("import a token", Import, |_| Target::all(Noun::Account).bringing_user_tokens(), Changes, |s, _| {
            let entry = key_entry(CredentialKind::UserToken, Some("other-observer"));
            s.import_keys(&mut Given(Some(entry)), ImportMode::default(), &mut |_, _| Ok(())).map(drop)
        }),
        attempt("import a user", Import, account, Changes, |s, _| {
            let entry = UserEntry {
                name: user_name("new"),
                email: None,
                role: Role::User,
                os_uid: None,
                external_id: None,
                rate_limit: None,
            };
            s.import_users(&mut Given(Some(entry)), ImportMode::default(), &mut |_, _| Ok(())).map(drop)
        }),
        attempt("back up", BackUp, account, Reads, |s, _| {
            let directory = TempDir::new().unwrap();
            let copy = directory.path().join("copy.db");
            let outcome = s.back_up(&copy, None).map(drop);
            assert_eq!(outcome.is_ok(), copy.exists());
            outcome
        }),
        // What follows is asked again when it is done; doing it would need a place, which a session does not tell.
        attempt("restore", Restore, account, Reads, |s, _| s.require_restore()),
        attempt("run the doctor", RunDoctor, account, Reads, |s, _| {
            let ninety_days = SignedDuration::from_hours(90 * 24);
            s.examine(Checkup { expiring_within: ninety_days, unused_for: ninety_days }).map(drop)
        }),
        // The session for it is made in the test: acting as another is how a session begins.
        attempt("act as an observer", ActAsUser, account, Reads, |s, _| s.whoami().map(drop)),
    ]
}

#[test]
fn every_method_of_a_session_asks_the_table_and_a_denied_one_leaves_no_trace() {
    let cast = Cast::new();
    for role in Role::ALL {
        for attempt in attempts() {
            let what = format!("{role}: {}", attempt.what);
            let (directory, mut store) = cast.copy();
            let named = Named::of(&mut store, role);
            let before = dump(directory.path());
            let permitted =
                decide(&named.acting, attempt.action, &(attempt.target)(&named)) == Decision::Allowed;

            let outcome = {
                let mut entropy = SystemEntropy;
                let mut session =
                    Session::begin(&mut store, Identity::OsUser(uid_of(role)), &Frozen, &mut entropy)
                        .unwrap();
                if attempt.action == Action::ActAsUser {
                    session = session.on_behalf_of("other-observer");
                }
                (attempt.act)(&mut session, &cast)
            };
            let after = dump(directory.path());
            let refusal = outcome.as_ref().map_err(pdkeys::Error::kind);
            if !permitted {
                // To those who may not even see a token, it is not there; nor an app to those who see others.
                let is_unseen =
                    |show| decide(&named.acting, show, &(attempt.target)(&named)) != Decision::Allowed;
                let hidden = if attempt.what.ends_with("'s token") && is_unseen(Action::ShowUserToken) {
                    Some(Noun::UserToken)
                } else if attempt.what.ends_with("the admins' app") && role == Role::User {
                    Some(Noun::App)
                } else {
                    None
                };
                assert!(
                    hidden.is_some_and(
                        |hidden| matches!(refusal, Err(ErrorKind::NotFound { noun, .. }) if *noun == hidden)
                    ) || hidden.is_none()
                        && matches!(refusal, Err(ErrorKind::NotPermitted(NotPermitted { action, role: of, .. }))
                        if *action == attempt.action && *of == role),
                    "{what}: {refusal:?}"
                );
                assert_eq!(after, before, "{what}");
                continue;
            }
            match attempt.outcome {
                WhenPermitted::Reads => assert!(refusal.is_ok() && after == before, "{what}: {refusal:?}"),
                WhenPermitted::Changes | WhenPermitted::ChangesTwice => {
                    assert!(refusal.is_ok(), "{what}: {refusal:?}");
                    let changes = if attempt.outcome == WhenPermitted::Changes { 1 } else { 2 };
                    assert_eq!(records(&after), records(&before) + changes, "{what}: one record a change");
                }
                // Who is the owner already is made the owner again: nothing to do, and no conflict.
                WhenPermitted::Conflicts if attempt.what == "make oneself the owner" => {
                    assert!(refusal.is_ok() && after == before, "{what}: {refusal:?}");
                }
                WhenPermitted::Conflicts => {
                    assert!(matches!(refusal, Err(ErrorKind::Conflict(_))), "{what}: {refusal:?}");
                    assert_eq!(after, before, "{what}");
                }
            }
        }
    }
}

fn records(dump: &str) -> usize {
    dump.lines().skip_while(|line| *line != "audit").skip(1).take_while(|line| line.starts_with('[')).count()
}

#[test]
fn every_permitted_action_is_attempted() {
    let attempted: Vec<_> =
        attempts().into_iter().map(|attempt| attempt.action).chain([Action::ListUsers]).collect();
    let missing: Vec<_> =
        Action::ALL.iter().filter(|action| !attempted.contains(action)).map(|action| action.name()).collect();
    // What nobody who is here does, the founding and what the holder of a secret does with it; and what is asked when an
    // integration is shown, which has a test below.
    assert_eq!(missing, ["ShowIntegrationKey", "RevokeAppToken", "FoundAccount"]);
}

#[test]
fn who_may_see_only_themselves_lists_themselves() {
    let cast = Cast::new();
    for role in Role::ALL {
        let (_directory, mut store) = cast.copy();
        let mut listed = Vec::new();
        act_as(&mut store, role, |session| {
            session.list_users(&mut |user| {
                listed.push(user.name.to_string());
                Ok(ControlFlow::Continue(()))
            })
        })
        .unwrap();
        if matches!(role, Role::RestrictedAccess | Role::ReadOnlyLimitedUser) {
            assert_eq!(listed, [role.as_str()]);
        } else {
            assert_eq!(listed.len(), Role::ALL.len() + 2, "{role}: {listed:?}");
        }
    }
}

/// Otherwise the two answers would tell which ids and names there are.
#[test]
fn who_may_not_is_told_so_whether_the_thing_exists_or_not() {
    let cast = Cast::new();
    let (_directory, mut store) = cast.copy();
    for role in Role::ALL {
        let outcomes = [
            act_as(&mut store, role, |session| session.key("KZZZZZZZZ").map(drop)),
            act_as(&mut store, role, |session| session.remove_keys(&one("KZZZZZZZZ"), None).map(drop)),
            act_as(&mut store, role, |session| session.edit_key("KZZZZZZZZ", KeyEdit::default()).map(drop)),
            act_as(&mut store, role, |session| session.edit_user("nobody", email()).map(drop)),
            act_as(&mut store, role, |session| session.remove_users(&one("nobody"), None).map(drop)),
        ];
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.unwrap_err();
            let told = match error.kind() {
                ErrorKind::NotFound { .. } => true,
                ErrorKind::NotPermitted(_) => false,
                other => panic!("{other:?}"),
            };
            assert_eq!(told, matches!(role, Role::Owner | Role::Admin), "{role} {number}: {error}");
        }
        let error = act_as(&mut store, role, |session| session.user("nobody").map(drop)).unwrap_err();
        let sees_all = !matches!(role, Role::RestrictedAccess | Role::ReadOnlyLimitedUser);
        assert_eq!(matches!(error.kind(), ErrorKind::NotFound { .. }), sees_all, "{role}: {error}");
    }
}

/// With `--as`, the table is asked about the user acted as; the owner's rights do not come along.
#[test]
fn the_owner_acting_as_another_may_do_what_the_other_may() {
    let cast = Cast::new();
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Owner) {
        let (directory, mut store) = cast.copy();
        let before = dump(directory.path());
        let mut entropy = SystemEntropy;
        let outcome =
            Session::begin(&mut store, Identity::OsUser(uid_of(Role::Owner)), &Frozen, &mut entropy)
                .unwrap()
                .on_behalf_of(role.as_str())
                .create_key(new_key(), &mut |_, _| Ok(()));
        if role == Role::Admin {
            assert_eq!(outcome.unwrap().created_by.name, user_name("admin"));
        } else {
            let error = outcome.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NotPermitted(_)), "{role}: {error}");
            assert_eq!(dump(directory.path()), before, "{role}");
        }
    }
}

#[test]
fn a_role_taken_away_is_gone_in_a_session_that_has_begun() {
    let cast = Cast::new();
    let (directory, mut store) = cast.copy();
    let mut other = SqliteStore::open(&place(directory.path())).unwrap();
    let mut entropy = SystemEntropy;
    let mut session =
        Session::begin(&mut store, Identity::OsUser(uid_of(Role::Admin)), &Frozen, &mut entropy).unwrap();
    session.create_key(new_key(), &mut |_, _| Ok(())).unwrap();
    act_as(&mut other, Role::Owner, |owner| owner.edit_user("admin", role(Role::User))).unwrap();
    let error = session.create_key(new_key(), &mut |_, _| Ok(())).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NotPermitted(NotPermitted { role: Role::User, .. })),
        "{error}"
    );

    act_as(&mut other, Role::Owner, |owner| owner.remove_users(&one("admin"), None)).unwrap();
    let error = session.account().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unidentified(_)), "{error}");
}

/// Showing a key in full is asked for each integration that is shown.
#[test]
fn an_integration_key_is_shown_to_those_whom_the_table_names() {
    let cast = Cast::new();
    for role in Role::ALL {
        let (_directory, mut store) = cast.copy();
        let named = Named::of(&mut store, role);
        let may = |action| decide(&named.acting, action, &integrations(&named)) == Decision::Allowed;
        let shown = act_as(&mut store, role, |session| session.integration(&cast.integration));
        assert_eq!(shown.is_ok(), may(Action::ShowIntegration), "{role}");
        if let Ok(shown) = shown {
            assert_eq!(shown.key.is_some(), may(Action::ShowIntegrationKey), "{role}");
        }
    }
}
