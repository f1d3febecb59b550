//! Names by which things are found: no two of a noun look alike, and each is found however it is typed.

use std::fs;

use insta::assert_snapshot;

use crate::session::{Machine, text_of};

/// What names are kept out by, each in another way.
const INVISIBLE: [&str; 9] = [
    "ada\u{200b}",
    "a\u{ad}da",
    "\u{3164}",
    "ada\u{e0041}\u{e007f}",
    "ada\u{fe0f}",
    "ada\u{2060}",
    "a\u{34f}da",
    "ada\u{2800}",
    "\u{115f}ada",
];
/// A name, and what else looks like it.
const ALIKE: [(&str, &str); 5] = [
    ("ada", "ADA"),
    ("zo\u{eb}", "zoe\u{308}"),
    ("\u{3a3}\u{399}\u{3a3}", "\u{3c3}\u{3b9}\u{3c2}"),
    ("office", "o\u{fb03}ce"),
    ("stra\u{df}e", "\u{ff33}TRASSE"),
];

/// How a thing with a name is made, for each noun that is found by name.
fn make<'a>(noun: &str, name: &'a str) -> Vec<&'a str> {
    match noun {
        "user" => vec!["user", "add", name, "--role", "observer"],
        "service" => vec!["service", "create", name],
        "orchestration" => vec!["orchestration", "create", name],
        _ => vec!["app", "register", name, "--scope", "incidents.read"],
    }
}

const NOUNS: [&str; 4] = ["user", "service", "orchestration", "app"];

#[test]
fn a_name_has_nothing_in_it_that_cannot_be_seen() {
    let machine = Machine::with_store();
    for name in INVISIBLE {
        for noun in NOUNS {
            let ran = machine.refuses(make(noun, name)).must_exit(2);
            assert!(ran.stderr.contains("must not contain invisible characters (\\u{"), "{noun}: {ran}");
        }
        fs::write(machine.file("users.csv"), format!("name,role\n{name},user\nkim,user\n")).unwrap();
        let ran = machine.refuses(["user", "import", "users.csv"]).must_exit(1);
        assert!(ran.stderr.contains("users.csv:2: name: must not contain invisible"), "{ran}");
        let elsewhere = Machine::new();
        elsewhere.run(["init", "acme", "--owner", name]).must_exit(2);
        assert!(!elsewhere.store().exists());
        machine.refuses(["list", "--as", name]).must_exit(4);
    }
    machine.run(["user", "edit", "ann", "--name", "an\u{200d}n"]).must_exit(2);
    assert_snapshot!(machine.refuses(["account", "set", "--name", "ac\u{200b}me"]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: name: must not contain invisible characters (\u{200b})
    hint: one line of plain text that is no id and does not begin with -, such as web
    ");
}

#[test]
fn names_that_look_the_same_are_one_name() {
    let machine = Machine::with_store();
    for noun in NOUNS {
        for (name, other) in ALIKE {
            machine.run(make(noun, name)).must_succeed();
            let ran = machine.refuses(make(noun, other)).must_exit(1);
            assert!(ran.stderr.contains("has this name already"), "{noun} {other}: {ran}");
            let shown = machine.run([noun, "show", other, "-o", "json"]).must_succeed().json();
            assert_eq!(shown["name"], name, "{noun} {other}");
            // What is another in its case alone can be called so, and by nothing that is taken.
            machine.run([noun, "edit", name, "--name", other]).must_succeed();
            machine.run([noun, "edit", other, "--name", name]).must_succeed();
        }
        let ran = machine.refuses([noun, "edit", "ada", "--name", "OFFICE"]).must_exit(1);
        assert!(ran.stderr.contains("has this name already"), "{noun}: {ran}");
    }
    // What is kept is composed, however it came in.
    machine.run(["service", "create", "cafe\u{301}"]).must_succeed();
    assert_eq!(
        machine.run(["service", "show", "CAF\u{c9}", "-o", "json"]).must_succeed().json()["name"],
        "caf\u{e9}"
    );
    let whoami = machine.run(["whoami", "--as", "ADA", "-o", "json"]).must_succeed().json();
    assert!(whoami.to_string().contains("\"ada\""), "{whoami}");
}

#[test]
fn an_import_compares_names_as_all_else_does() {
    let machine = Machine::with_users();
    machine.run(["service", "create", "Web"]).must_succeed();
    fs::write(machine.file("users.csv"), "name,role\nADAM,user\nlin,user\nLin,user\nKim,user\n").unwrap();
    assert_snapshot!(machine.run(["user", "import", "users.csv", "--skip-bad"]), @r"
    exit: 0
    --- stdout
    --- stderr
    warning: users.csv:2: user adam ([U1]) already has this name
    warning: users.csv:4: line 3 has the same name
    Imported 2 users; 2 bad lines left out
    ");
    let rows = "kind,secret,description,owner\n\
        user-token,u+AAAAbbbbCCCCddddE1,laptop,UMA\n\
        user-token,u+AAAAbbbbCCCCddddE2,phone,Uma\n\
        integration,0123456789abcdef0123456789abcdef,events,wEB\n";
    fs::write(machine.file("keys.csv"), rows).unwrap();
    let ran = machine.run(["import", "keys.csv"]).must_succeed();
    assert_eq!(ran.stderr, "Imported 2 user tokens, 1 integration\n");
}

#[test]
fn a_store_that_has_such_names_already_is_used_as_before() {
    let machine = Machine::with_store();
    let names = ["ada", "ADA", "ada\u{200b}", "Ada"];
    let ids: Vec<_> = ["one", "two", "three", "four"]
        .iter()
        .zip(names)
        .map(|(name, old)| {
            let made = machine.run(["user", "add", name, "--role", "observer", "-o", "json"]).must_succeed();
            let id = text_of(&made.json()[0], "id");
            machine.sql().execute("UPDATE user SET name = ?1 WHERE id = ?2", [old, &id]).unwrap();
            id
        })
        .collect();
    for (id, name) in ids.iter().zip(names) {
        let shown = machine.run(["user", "show", name, "-o", "json"]).must_succeed().json();
        assert_eq!(text_of(&shown, "id"), *id);
        machine.run(["user", "edit", name, "--email", "a@example.org"]).must_succeed();
        machine.run(["list", "--as", name]).must_exit(4);
    }
    let listed = machine.run(["user", "list"]).must_succeed().stdout;
    assert!(listed.contains("ada\\u{200b}") && !listed.contains('\u{200b}'), "{listed}");
    // One that is none of them exactly could be each.
    let ran = machine.refuses(["user", "remove", "aDA", "--yes"]).must_exit(5);
    assert!(ran.stderr.contains("hint: did you mean "), "{ran}");
    machine.run(["user", "edit", "ada\u{200b}", "--name", "ada2"]).must_succeed();
    machine.run(["user", "remove", "ADA", "--yes"]).must_succeed();
    machine.run(["user", "remove", "Ada", "--yes"]).must_succeed();
    machine.run(["user", "show", "ADA"]).must_succeed();
}

#[test]
fn a_description_shows_what_cannot_be_seen() {
    let machine = Machine::with_store();
    let (id, _) = machine.make_key("deploy\u{200b}\u{e0041}", &[]);
    for arguments in [&["list"][..], &["show", &id], &["list", "-o", "csv"], &["audit", "list"]] {
        let ran = machine.run(arguments.iter().copied()).must_succeed();
        assert!(ran.stdout.contains("deploy\\u{200b}\\u{e0041}"), "{ran}");
    }
    let json = machine.run(["list", "-o", "json"]).must_succeed();
    assert!(json.stdout.contains("deploy\\u200b\\udb40\\udc41"), "{json}");
    assert_eq!(json.json()[0]["description"], "deploy\u{200b}\u{e0041}");
}
