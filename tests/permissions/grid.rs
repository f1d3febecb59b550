//! The table as a page.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use pdkeys::authz::{Action, Decision, Target, decide};
use pdkeys::model::{Name, Noun, Role, ScopeSet, User};

/// A user of a role, with an id of its own for each `number`.
pub(crate) fn user(role: Role, number: usize) -> User {
    User {
        id: format!("U0000{:02}{number:02}", role as usize).parse().unwrap(),
        name: Name::parse(Noun::User, &format!("{role}-{number}")).unwrap(),
        email: None,
        role,
        os_uid: None,
        external_id: None,
        rate_limit: None,
        created_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        left_at: None,
        left_reason: None,
    }
}

/// What something may be done to, as far as the table asks; each with what it is called here.
struct Cases {
    user: User,
}

impl Cases {
    fn of(role: Role) -> Self {
        Self { user: user(role, 0) }
    }

    fn allows(&self, action: Action, refine: impl FnOnce(Target) -> Target) -> bool {
        let target = refine(Target::all(Noun::Account));
        decide(&self.user, action, &target) == Decision::Allowed
    }

    fn on_own(&self, action: Action) -> bool {
        self.allows(action, |target| target.belonging_to(&self.user))
    }

    fn on_nobodys(&self, action: Action) -> bool {
        self.allows(action, |target| target)
    }

    /// On what belongs to somebody else of each role, in the order of the roles.
    fn on_others(&self, action: Action) -> [bool; Role::ALL.len()] {
        Role::ALL.map(|role| self.allows(action, |target| target.belonging_to(&user(role, 1))))
    }

    /// Where somebody else, who is an Observer, gets each role by it.
    fn granting(&self, action: Action) -> [bool; Role::ALL.len()] {
        let observer = user(Role::Observer, 1);
        Role::ALL.map(|role| self.allows(action, |target| target.belonging_to(&observer).granting(role)))
    }

    /// With scopes that the role holds, and with one among them that it does not; owner and admin hold all.
    fn with_scopes(&self, action: Action, text: &str) -> bool {
        let scopes: ScopeSet = text.parse().unwrap();
        self.allows(action, |target| target.with_scopes(&scopes))
    }

    fn bringing_user_tokens(&self, action: Action) -> bool {
        self.allows(action, Target::bringing_user_tokens)
    }

    /// What the table says, in words. Behaviour that no word fits fails the test.
    fn cell(&self, action: Action) -> String {
        let own = self.on_own(action);
        let nobodys = self.on_nobodys(action);
        let others = self.on_others(action);
        let granting = self.granting(action);
        let held = self.with_scopes(action, "abilities.read");
        let lacked = self.with_scopes(action, "abilities.read users.write");
        let tokens = self.bringing_user_tokens(action);

        let everyone = [true; Role::ALL.len()];
        let nobody = [false; Role::ALL.len()];
        let but_the_owner = Role::ALL.map(|role| role != Role::Owner);
        let juniors = Role::ALL.map(|role| !matches!(role, Role::Owner | Role::Admin));
        match (own, nobodys, others, granting, held, lacked, tokens) {
            (true, true, o, g, true, true, true) if o == everyone && g == everyone => "yes",
            (false, false, o, g, false, false, false) if o == nobody && g == nobody => "-",
            (true, false, o, g, false, false, false) if o == nobody && g == nobody => "own",
            (true, false, o, g, false, false, false) if o == juniors && g == everyone => "own + juniors'",
            (true, true, o, g, true, true, true) if o == but_the_owner && g == but_the_owner => {
                "not the owner"
            }
            (true, true, o, g, true, false, true) if o == everyone && g == everyone => {
                "if it holds the scopes"
            }
            (true, true, o, g, true, true, false) if o == everyone && g == everyone => "no user tokens",
            cell => panic!("no words for {} of {}: {cell:?}", action.name(), self.user.role),
        }
        .to_owned()
    }
}

const LEGEND: &str = "\
Who may manage what. Printed by tests/permissions.rs from the code; not to be edited by hand.

  yes                     on anything
  -                       not at all
  own                     on what belongs to the user, or is the user
  own + juniors'          on one's own, and on that of others who are neither owner nor admin
  not the owner           on anybody but the Account Owner, and making nobody the owner
  if it holds the scopes  where the role holds every scope of the app
  no user tokens          as long as no user tokens are brought in
";

fn page() -> String {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(Role::ALL.iter().map(ToString::to_string));
    for action in Action::ALL {
        let mut row = vec![action.name().to_owned()];
        row.extend(Role::ALL.iter().map(|role| Cases::of(*role).cell(*action)));
        rows.push(row);
    }
    let widths: Vec<_> = (0..=Role::ALL.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut page = format!("{LEGEND}\n");
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$}  ").unwrap();
        }
        page.push_str(line.trim_end());
        page.push('\n');
    }
    page
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the tests alone know this variable")]
fn the_table_in_the_code_is_the_table_on_the_page() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/permissions.txt");
    let page = page();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    for (number, (now, kept)) in page.lines().zip(kept.lines()).enumerate() {
        assert_eq!(now, kept, "line {}; if it is meant: {UPDATE}", number + 1);
    }
    assert_eq!(page.lines().count(), kept.lines().count(), "actions came or went; if it is meant: {UPDATE}");
}

const UPDATE: &str = "UPDATE_GOLDEN=1 cargo test --test permissions";

#[test]
fn every_action_has_a_row_and_no_two_have_the_same_name() {
    let mut names: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Action::ALL.len());
    let page = page();
    for name in names {
        assert!(page.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}");
    }
}

/// Rules that stand above the table: a cell that breaks one is wrong, whatever the page says.
#[test]
fn no_role_may_do_what_the_owner_may_not_and_only_the_owner_acts_as_another() {
    for action in Action::ALL {
        let owner = Cases::of(Role::Owner);
        for role in Role::ALL {
            let cases = Cases::of(role);
            assert!(owner.on_own(*action) || !cases.on_own(*action), "{action:?} {role}");
            assert!(owner.on_nobodys(*action) || !cases.on_nobodys(*action), "{action:?} {role}");
            if role != Role::Owner {
                assert!(
                    !cases.granting(*action)[Role::Owner as usize] || !changes_users(*action),
                    "{action:?} {role}"
                );
            }
        }
    }
    for role in Role::ALL {
        assert_eq!(Cases::of(role).on_nobodys(Action::ActAsUser), role == Role::Owner, "{role}");
    }
}

fn changes_users(action: Action) -> bool {
    matches!(action, Action::AddUser | Action::EditUser | Action::SetUserRole | Action::RemoveUser)
}

#[test]
fn an_app_with_scopes_is_for_roles_that_hold_every_one_of_them() {
    for (scopes, allowed) in [
        ("incidents.read incidents.write", true),
        ("incidents.write users.write", false),
        ("users:sessions.read", false),
        ("audit_records.read", false),
        ("oauth_delegations.write", false),
        ("users.read", true),
    ] {
        assert_eq!(Cases::of(Role::User).with_scopes(Action::RegisterApp, scopes), allowed, "{scopes}");
        assert!(Cases::of(Role::Admin).with_scopes(Action::RegisterApp, scopes), "{scopes}");
        assert!(!Cases::of(Role::LimitedUser).with_scopes(Action::RegisterApp, scopes), "{scopes}");
    }
}
