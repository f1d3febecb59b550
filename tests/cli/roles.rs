//! A script with no terminal, run for a user of each of the eight roles: every command does what the permission table
//! says, for who comes with a user token and for who is known to the operating system.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pdkeys::authz::{Action, Decision, Target, decide};
use pdkeys::model::{Name, Noun, Role, User};

use crate::permissions::commands_beside;
use crate::session::{Machine, Ran, names_in, own_uid, text_of};

/// What the table is asked about a command.
#[derive(Clone, Copy)]
enum About {
    /// Something that belongs to nobody but the account.
    Accounts,
    /// What is, or belongs to, the acting user.
    Oneself,
    /// What is, or belongs to, an Observer.
    Junior,
    /// What is, or belongs to, another admin.
    Senior,
    /// The Account Owner.
    Owner,
    /// A new user of this role.
    New(Role),
    /// A role that an Observer is to get.
    Promoted(Role),
    /// An app with this scope.
    AppWith(&'static str),
    /// User tokens that come in from elsewhere.
    ForeignTokens,
}

use About::{Accounts, AppWith, ForeignTokens, Junior, New, Oneself, Owner, Promoted, Senior};

/// A scope that a Manager holds, which the app `ci` has, and one that only admins hold, which the app `hr` has.
const MANAGERS: About = AppWith("incidents.read");
const ADMINS: About = AppWith("users.write");

/// Every command, with what it takes. In capitals stand ids: of a key with an overlap, of tokens, of an integration, of
/// an app.
#[rustfmt::skip]
const COMMANDS: &[(&str, Action, About)] = &[
    ("create x", Action::CreateGeneralKey, Accounts),
    ("list", Action::ListGeneralKeys, Accounts),
    ("show KEY", Action::ShowGeneralKey, Accounts),
    ("edit KEY --description x", Action::EditGeneralKey, Accounts),
    ("disable KEY --yes", Action::DisableGeneralKey, Accounts),
    ("enable KEY", Action::EnableGeneralKey, Accounts),
    ("rotate KEY --overlap 1h", Action::RotateGeneralKey, Accounts),
    ("rotate KEY --yes", Action::RotateGeneralKey, Accounts),
    ("rotate KEY --end-overlap", Action::RotateGeneralKey, Accounts),
    ("remove KEY --yes", Action::RemoveGeneralKey, Accounts),
    ("token create x", Action::CreateUserToken, Oneself),
    ("token create x --user junior", Action::CreateUserToken, Junior),
    ("token create x --user senior", Action::CreateUserToken, Senior),
    ("token list", Action::ListUserTokens, Oneself),
    ("token list --user junior", Action::ListUserTokens, Junior),
    ("token list --user senior", Action::ListUserTokens, Senior),
    ("token list --all", Action::ListUserTokens, Accounts),
    ("token show OWN", Action::ShowUserToken, Oneself),
    ("token show JUNIORS", Action::ShowUserToken, Junior),
    ("token edit OWN --description x", Action::EditUserToken, Oneself),
    ("token edit JUNIORS --description x", Action::EditUserToken, Junior),
    ("token rotate OWN --overlap 1h", Action::RotateUserToken, Oneself),
    ("token rotate OWN --yes", Action::RotateUserToken, Oneself),
    ("token rotate OWN --end-overlap", Action::RotateUserToken, Oneself),
    ("token rotate JUNIORS --yes", Action::RotateUserToken, Junior),
    ("token rotate JUNIORS --end-overlap", Action::RotateUserToken, Junior),
    ("token remove OWN --yes", Action::RemoveUserToken, Oneself),
    ("token remove JUNIORS --yes", Action::RemoveUserToken, Junior),
    ("token remove SENIORS --yes", Action::RemoveUserToken, Senior),
    ("service create x", Action::CreateService, Accounts),
    ("service create x --integration email", Action::CreateService, Accounts),
    ("service list", Action::ListServices, Accounts),
    ("service show web", Action::ShowService, Accounts),
    ("service edit web --name x", Action::EditService, Accounts),
    ("service remove idle --yes", Action::RemoveService, Accounts),
    ("service remove web --with-integrations --yes", Action::RemoveService, Accounts),
    ("orchestration create x", Action::CreateOrchestration, Accounts),
    ("orchestration list", Action::ListOrchestrations, Accounts),
    ("orchestration show router", Action::ShowOrchestration, Accounts),
    ("orchestration edit router --name x", Action::EditOrchestration, Accounts),
    ("orchestration remove router --with-integrations --yes", Action::RemoveOrchestration, Accounts),
    ("integration create --service web --type email --name x", Action::CreateIntegration, Accounts),
    ("integration create --orchestration router --type email --name x", Action::CreateIntegration, Accounts),
    ("integration list", Action::ListIntegrations, Accounts),
    ("integration list --service web", Action::ListIntegrations, Accounts),
    ("integration show INTEGRATION", Action::ShowIntegration, Accounts),
    ("integration move INTEGRATION --service idle", Action::MoveIntegration, Accounts),
    ("integration remove INTEGRATION --yes", Action::RemoveIntegration, Accounts),
    ("app register x --scope incidents.read", Action::RegisterApp, MANAGERS),
    ("app register x --scope users.write", Action::RegisterApp, ADMINS),
    ("app list", Action::ListApps, Accounts),
    ("app show ci", Action::ShowApp, MANAGERS),
    ("app show hr", Action::ShowApp, ADMINS),
    ("app edit ci --description x", Action::EditApp, MANAGERS),
    ("app edit ci --revoke-tokens --yes", Action::EditApp, MANAGERS),
    ("app edit hr --description x", Action::EditApp, ADMINS),
    ("app rotate ci --overlap 1h", Action::RotateApp, MANAGERS),
    ("app rotate ci --end-overlap", Action::RotateApp, MANAGERS),
    ("app rotate hr --yes", Action::RotateApp, ADMINS),
    ("app token ci", Action::IssueAppToken, MANAGERS),
    ("app token hr", Action::IssueAppToken, ADMINS),
    ("app remove ci --yes", Action::RemoveApp, MANAGERS),
    ("app remove hr --yes", Action::RemoveApp, ADMINS),
    ("user list", Action::ListUsers, Oneself),
    ("user show junior", Action::ShowUser, Junior),
    ("user show ann", Action::ShowUser, Owner),
    ("user add x --role observer", Action::AddUser, New(Role::Observer)),
    ("user add x --role admin", Action::AddUser, New(Role::Admin)),
    ("user edit junior --name x", Action::EditUser, Junior),
    ("user edit senior --name x", Action::EditUser, Senior),
    ("user edit ann --name x", Action::EditUser, Owner),
    ("user edit junior --role admin", Action::SetUserRole, Promoted(Role::Admin)),
    ("user remove junior --yes", Action::RemoveUser, Junior),
    ("user remove senior --yes", Action::RemoveUser, Senior),
    ("user import users.csv", Action::Import, Accounts),
    ("whoami", Action::ShowAccount, Accounts),
    ("whoami --as junior", Action::ActAsUser, Accounts),
    ("account show", Action::ShowAccount, Accounts),
    ("account set --subdomain acme", Action::ChangeAccount, Accounts),
    ("account transfer junior --yes", Action::TransferAccount, Accounts),
    ("audit list", Action::ReadAudit, Accounts),
    ("audit head", Action::ReadAudit, Accounts),
    ("audit verify", Action::VerifyAudit, Accounts),
    ("usage", Action::SeeUsage, Oneself),
    ("usage --unused-for 1d", Action::SeeUsage, Oneself),
    ("usage KEY", Action::SeeUsage, Accounts),
    ("usage OWN", Action::SeeUsage, Oneself),
    ("usage JUNIORS", Action::SeeUsage, Junior),
    ("usage INTEGRATION", Action::SeeIntegrationUsage, Accounts),
    ("usage APP", Action::SeeUsage, Accounts),
    ("export keys", Action::Export, Accounts),
    ("export users", Action::Export, Accounts),
    ("export services", Action::Export, Accounts),
    ("export audit", Action::Export, Accounts),
    ("import keys.csv", Action::Import, Accounts),
    ("import tokens.csv", Action::Import, ForeignTokens),
    ("doctor", Action::RunDoctor, Accounts),
    ("backup copy.db", Action::BackUp, Accounts),
    ("restore kept.db --yes", Action::Restore, Accounts),
];

/// A user of a role, as whom the script acts.
struct Actor {
    user: User,
    uid: String,
    /// The id and the secret of a token.
    token: (String, String),
}

/// The store in which every command is run, each time as it was at first.
struct Scene {
    machine: Machine,
    actors: Vec<Actor>,
    junior: User,
    senior: User,
    ids: Vec<(&'static str, String)>,
}

fn user(machine: &Machine, name: &str, role: Role) -> User {
    let shown = machine.run(["user", "show", name, "-o", "json"]).must_succeed().json();
    assert_eq!(shown["role"], role.as_str());
    User {
        id: text_of(&shown, "id").parse().unwrap(),
        name: Name::parse(Noun::User, name).unwrap(),
        email: None,
        role,
        os_uid: None,
        external_id: None,
        rate_limit: None,
        created_at: text_of(&shown, "created_at").parse().unwrap(),
        left_at: None,
        left_reason: None,
    }
}

impl Scene {
    fn set() -> Self {
        let machine = Machine::with_store();
        let mut actors = Vec::new();
        for role in Role::ALL {
            let (name, uid) = match role {
                Role::Owner => ("ann", own_uid().to_string()),
                role => (role.as_str(), (7000 + role as u32).to_string()),
            };
            // A Limited Stakeholder can make no token, but keeps one from a time with another role.
            let is_to_fall = role == Role::ReadOnlyLimitedUser;
            let at_first = if is_to_fall { Role::Observer } else { role };
            if role != Role::Owner {
                machine
                    .run(["user", "add", name, "--role", at_first.as_str(), "--os-user", &uid])
                    .must_succeed();
            }
            // Each makes a token as oneself, the way sudo tells who that is.
            let made = machine.run_sudo(&uid, ["token", "create", "own", "-o", "json"]).must_succeed().json();
            let token = (text_of(&made, "id"), text_of(&made, "secret"));
            machine.run_sudo(&uid, ["token", "rotate", &token.0, "--overlap", "24h"]).must_succeed();
            if is_to_fall {
                machine.run(["user", "edit", name, "--role", role.as_str()]).must_succeed();
            }
            actors.push(Actor { user: user(&machine, name, role), uid, token });
        }
        machine.run(["user", "add", "junior", "--role", "observer"]).must_succeed();
        machine.run(["user", "add", "senior", "--role", "admin"]).must_succeed();
        let (juniors, _) = machine.make_token("junior", "t", &[]);
        machine.run(["token", "rotate", &juniors, "--overlap", "24h", "--as", "junior"]).must_succeed();
        let (seniors, _) = machine.make_token("senior", "t", &[]);
        let (key, _) = machine.make_key("ci", &[]);
        machine.run(["rotate", &key, "--overlap", "24h"]).must_succeed();
        machine.run(["service", "create", "web"]).must_succeed();
        machine.run(["service", "create", "idle"]).must_succeed();
        machine.run(["orchestration", "create", "router"]).must_succeed();
        let (integration, _) = machine.make_integration("service", "web", "alerts");
        let (junior, senior) =
            (user(&machine, "junior", Role::Observer), user(&machine, "senior", Role::Admin));
        for (app, scope) in [("ci", "incidents.read"), ("hr", "users.write")] {
            machine.run(["app", "register", app, "--scope", scope]).must_succeed();
        }
        machine.run(["app", "rotate", "ci", "--overlap", "24h"]).must_succeed();
        let app = machine.run(["app", "show", "ci", "-o", "json"]).must_succeed().json();
        let digest = "00".repeat(32);
        for (file, lines) in [
            ("keys.csv", format!("kind,digest,description,access\ngeneral,{digest},x,full\n")),
            ("tokens.csv", format!("kind,digest,description,owner\nuser-token,{digest},x,junior\n")),
            ("users.csv", "name,role\nx,user\n".to_owned()),
        ] {
            fs::write(machine.file(file), lines).unwrap();
        }
        machine.run(["backup", "kept.db"]).must_succeed();
        let ids = vec![
            ("KEY", key),
            ("JUNIORS", juniors),
            ("SENIORS", seniors),
            ("INTEGRATION", integration),
            ("APP", text_of(&app, "id")),
        ];
        copy(&machine.directory(), &machine.file("kept"));
        Self { machine, actors, junior, senior, ids }
    }

    fn owner(&self) -> &User {
        &self.actors[0].user
    }

    /// Puts the store back to what it was at first.
    fn reset(&self) {
        fs::remove_dir_all(self.machine.directory()).unwrap();
        copy(&self.machine.file("kept"), &self.machine.directory());
        let _ = fs::remove_file(self.machine.file("copy.db"));
    }

    fn target(&self, actor: &Actor, about: About) -> Target {
        let target = Target::all(Noun::Account);
        match about {
            Accounts => target,
            Oneself => target.belonging_to(&actor.user),
            Junior => target.belonging_to(&self.junior),
            Senior => target.belonging_to(&self.senior),
            Owner => target.belonging_to(self.owner()),
            New(role) => target.granting(role),
            Promoted(role) => target.belonging_to(&self.junior).granting(role),
            AppWith(scope) => Target::all(Noun::App).with_scopes(&scope.parse().unwrap()),
            ForeignTokens => target.bringing_user_tokens(),
        }
    }

    /// How a command is to end for an actor, by the table.
    fn expected(&self, actor: &Actor, action: Action, about: About) -> i32 {
        let may = |action| decide(&actor.user, action, &self.target(actor, about)) == Decision::Allowed;
        // To those who may not even see a token, it is not there.
        let is_of_a_token = matches!(
            (action, about),
            (
                Action::ShowUserToken
                    | Action::EditUserToken
                    | Action::RotateUserToken
                    | Action::RemoveUserToken,
                _
            ) | (Action::SeeUsage, Junior)
        );
        // And to those who may see some apps, but not this one, it is not there either.
        let is_of_an_app = matches!(about, AppWith(_)) && action != Action::RegisterApp;
        let sees_some = decide(&actor.user, action, &Target::all(Noun::App)) == Decision::Allowed;
        match may(action) {
            true => 0,
            false if is_of_a_token && !may(Action::ShowUserToken) => 5,
            false if is_of_an_app && sees_some && !may(Action::ShowApp) => 5,
            false => 4,
        }
    }

    /// Runs every command for an actor, and compares what comes of it with the table.
    fn play<'m>(&'m self, actor: &Actor, run: impl Fn(&[&str]) -> Ran<'m>) {
        for (command, action, about) in COMMANDS {
            let id = |word| self.ids.iter().find(|(name, _)| *name == word).map(|(_, id)| id.as_str());
            let words: Vec<_> = command
                .split(' ')
                .map(|word| if word == "OWN" { actor.token.0.as_str() } else { id(word).unwrap_or(word) })
                .collect();
            let expected = self.expected(actor, *action, *about);
            let before = self.machine.dump();
            let ran = run(&words);
            assert_eq!(ran.code(), expected, "{}: {command}: {ran}", actor.user.role);
            if expected == 0 {
                self.reset();
            } else {
                assert_eq!(ran.stdout, "", "{}: {command}", actor.user.role);
                assert_eq!(self.machine.dump(), before, "{}: {command}", actor.user.role);
                assert!(!self.machine.file("copy.db").exists(), "{}: {command}", actor.user.role);
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in names_in(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}

#[test]
fn each_role_gets_with_its_own_token_what_the_permission_table_says() {
    let scene = Scene::set();
    for actor in &scene.actors {
        let (_, secret) = &actor.token;
        scene.play(actor, |words| scene.machine.run_with_token(secret, words.iter().copied()));
    }
}

#[test]
fn each_role_gets_as_operating_system_user_what_the_permission_table_says() {
    let scene = Scene::set();
    for actor in &scene.actors {
        scene.play(actor, |words| run_sudo_with_streams(&scene.machine, &actor.uid, words));
    }
}

/// Runs a command the way sudo would, with what stands for the files that it names, since it takes none then.
fn run_sudo_with_streams<'m>(machine: &'m Machine, uid: &str, words: &[&str]) -> Ran<'m> {
    let extension = |word: &str| Path::new(word).extension().map(ToOwned::to_owned);
    let (files, others): (Vec<_>, Vec<_>) =
        words.iter().copied().partition(|word| extension(word).is_some_and(|it| it == "csv" || it == "db"));
    let Some(file) = files.first() else { return machine.run_sudo(uid, others) };
    let format = if extension(file).is_some_and(|it| it == "csv") { &["--format", "csv"][..] } else { &[] };
    let mut command = machine.command(others.into_iter().chain(["-"]).chain(format.iter().copied()));
    match fs::File::open(machine.file(file)) {
        Ok(input) => command.stdin(input),
        Err(_) => command.stdout(fs::File::create("/dev/null").unwrap()),
    };
    machine.finish(command.env("SUDO_UID", uid))
}

/// A command that is added to the program without a row above is noticed here.
#[test]
fn no_command_is_missing_from_the_script() {
    let forgotten = commands_beside(COMMANDS.iter().map(|(command, ..)| command.split(' ').collect()));
    assert_eq!(forgotten, BTreeSet::new());
}

/// What the command line does with a key, the table says too.
#[test]
fn each_role_sees_integration_keys_in_full_where_the_permission_table_says_so() {
    let scene = Scene::set();
    for actor in &scene.actors {
        let shown = scene.machine.run_sudo(&actor.uid, ["integration", "list", "-o", "json"]);
        let may = |action| decide(&actor.user, action, &Target::all(Noun::Integration)) == Decision::Allowed;
        assert_eq!(shown.code() == 0, may(Action::ListIntegrations), "{}", actor.user.role);
        if shown.code() == 0 {
            let key = &shown.json()[0]["key"];
            assert_eq!(key.is_string(), may(Action::ShowIntegrationKey), "{}", actor.user.role);
        }
    }
}
