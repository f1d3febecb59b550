//! Every operation of the table, with every kind of access.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use pdkeys::model::{Access, RateLimit, Role, Scope, UserEdit};
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::verify::{Operation, Reason, UsageRecording, Verifier, operations};

use crate::world::{World, every_scope, only, rest};

/// A path of an operation's template: about whoever `id` says, and otherwise about things that are nobody's.
fn path_of(operation: &Operation, id: &str) -> String {
    let entity = operation.template.replace("{entity_type}", "teams");
    let segments = entity.split('/').enumerate().map(|(place, segment)| match segment {
        "{id}" if place == 2 => id,
        segment if segment.starts_with('{') => "PXYZ123",
        segment => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Why each operation is allowed or denied, in the order of the table.
fn ask_all(verifier: &Verifier<SqliteStore>, secret: &str, id: &str) -> Vec<Reason> {
    operations()
        .iter()
        .map(|operation| {
            let path = path_of(operation, id);
            let verdict = verifier.verify(&rest(secret, operation.method, &path)).unwrap();
            assert_eq!(verdict.operation, Some(operation.id), "{} {path}", operation.method);
            assert_eq!(verdict.needed, operation.needed);
            assert_eq!(verdict.status(), if verdict.is_allowed() { 200 } else { 403 });
            verdict.reason
        })
        .collect()
}

fn allowed(reasons: &[Reason]) -> usize {
    reasons.iter().filter(|reason| **reason == Reason::Allowed).count()
}

/// The operations that are allowed, or the denied ones where those are fewer: a line a scope that they need, with how
/// many of all that need it they are.
fn list(page: &mut String, reasons: &[Reason]) {
    let all = operations().len();
    let shows_allowed = allowed(reasons) * 2 <= all;
    let title = if shows_allowed { "allowed" } else { "denied" };
    let mut by_scope: BTreeMap<&Scope, (usize, Vec<&str>)> = BTreeMap::new();
    for (operation, reason) in operations().iter().zip(reasons) {
        let (total, shown) = by_scope.entry(&operation.needed[0]).or_default();
        *total += 1;
        if (*reason == Reason::Allowed) == shows_allowed {
            shown.push(operation.id);
        }
    }
    writeln!(page, "{title}, by the scope that they need:").unwrap();
    for (scope, (total, shown)) in by_scope.iter().filter(|(_, (_, shown))| !shown.is_empty()) {
        let how_many = if shown.len() == *total {
            format!("all {total}")
        } else {
            format!("{} of {total}", shown.len())
        };
        writeln!(page, "  {scope}, {how_many}: {}", shown.join(" ")).unwrap();
    }
    if by_scope.values().all(|(_, shown)| shown.is_empty()) {
        writeln!(page, "  none").unwrap();
    }
}

fn print() -> String {
    let world = World::new();
    let verifier = world.verifier(UsageRecording::InMemory);
    let all = operations().len();
    let unlimited = Some(RateLimit::Unlimited);
    let mut page = format!(
        "What each credential may call of the {all} operations, as verdicts say it. Somebody else's id stands in \
         every path.\n"
    );

    let full = ask_all(&verifier, &world.key(Access::Full, unlimited).secret, "PXYZ123");
    writeln!(page, "\n== full: {} of {all}", allowed(&full)).unwrap();
    let read_only = ask_all(&verifier, &world.key(Access::ReadOnly, unlimited).secret, "PXYZ123");
    writeln!(page, "\n== read-only: {} of {all}", allowed(&read_only)).unwrap();
    for (operation, reason) in operations().iter().zip(&read_only) {
        let expected = if operation.method == "GET" { Reason::Allowed } else { Reason::ReadOnly };
        assert_eq!(*reason, expected, "{} {}", operation.method, operation.template);
    }
    writeln!(page, "every GET, and nothing else").unwrap();

    let scopes = every_scope();
    writeln!(page, "\n== one scope alone, of {}: exactly the operations that need it", scopes.iter().count())
        .unwrap();
    for scope in scopes.iter() {
        let reasons = ask_all(&verifier, &world.key(only(scope), unlimited).secret, "PXYZ123");
        for (operation, reason) in operations().iter().zip(&reasons) {
            let expected = if operation.needed == [scope.clone()] { Reason::Allowed } else { Reason::Scope };
            assert_eq!(*reason, expected, "{scope}: {} {}", operation.method, operation.template);
        }
        writeln!(page, "{:>4} {scope}", allowed(&reasons)).unwrap();
    }

    for role in Role::ALL {
        let name = role.as_str();
        let edit = UserEdit { rate_limit: Some(unlimited), ..Default::default() };
        world.act(|session| session.edit_user(name, edit));
        let token = world.token(role, Access::Role(None)).secret;
        let reasons = ask_all(&verifier, &token, "PXYZ123");
        assert!(reasons.iter().all(|reason| matches!(reason, Reason::Allowed | Reason::Role)), "{role}");
        writeln!(page, "\n== {role} ({}): {} of {all}", role.title(), allowed(&reasons)).unwrap();
        list(&mut page, &reasons);
        let of_oneself = ask_all(&verifier, &token, &world.user_id(name));
        let more: Vec<_> = operations()
            .iter()
            .zip(reasons.iter().zip(&of_oneself))
            .filter(|(_, (of_others, of_oneself))| of_others != of_oneself)
            .map(|(operation, _)| format!("  {} {}", operation.method, operation.template))
            .collect();
        writeln!(page, "about the own user, besides: {}", more.len()).unwrap();
        for operation in more {
            writeln!(page, "{operation}").unwrap();
        }
    }
    page
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is the test's own, and no part of the program")]
fn every_credential_may_call_what_the_page_says() {
    let page = print();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operations.txt");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &page).unwrap();
    }
    let kept = fs::read_to_string(&golden).unwrap_or_default();
    assert!(
        page == kept,
        "{} is not what the code says; if that is meant, UPDATE_GOLDEN=1 writes it anew",
        golden.display()
    );
}

/// The rules for roles, said once more and from the scopes alone.
#[test]
fn roles_hold_their_scopes_and_nothing_beyond() {
    let admin_only = |scope: &str| {
        ["users.write", "audit_records.read"].contains(&scope)
            || ["users:sessions.", "ip_allow_lists.", "session_configurations.", "oauth_delegations."]
                .iter()
                .any(|prefix| scope.starts_with(prefix))
    };
    let responds = |scope: &str| {
        ["incidents.write", "incident_workflows:instances.write", "change_events.write"].contains(&scope)
    };
    let world = World::new();
    let verifier = world.verifier(UsageRecording::Nowhere);
    for role in Role::ALL {
        let token = world.token(role, Access::Role(None)).secret;
        for (operation, reason) in operations().iter().zip(ask_all(&verifier, &token, "PXYZ123")) {
            let scope = operation.needed[0].as_str();
            let reads = operation.needed[0].is_read() && !admin_only(scope);
            let holds = match role {
                Role::Owner | Role::Admin => true,
                Role::User => !admin_only(scope),
                Role::LimitedUser => {
                    reads || responds(scope) || operation.template.starts_with("/schedules/{id}/overrides")
                }
                Role::Observer | Role::ReadOnlyUser => reads,
                Role::RestrictedAccess => scope == "abilities.read",
                Role::ReadOnlyLimitedUser => scope == "status_dashboards.read",
            } || operation.template == "/users/me" && operation.method == "GET";
            assert_eq!(
                reason == Reason::Allowed,
                holds,
                "{role}: {} {}",
                operation.method,
                operation.template
            );
        }
    }
}
