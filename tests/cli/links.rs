//! Links to a store: what lies beside it is found where they lead.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::session::{Machine, names_in, set_mode};

/// A store in a directory of its own, and links to it from another: each finds the same.
struct Linked {
    machine: Machine,
    links: Vec<String>,
}

impl Linked {
    fn new() -> Self {
        let machine = Machine::with_store();
        let (id, _) = machine.make_key("ci", &[]);
        assert!(!id.is_empty());
        for directory in ["links", "chains"] {
            fs::create_dir(machine.file(directory)).unwrap();
            set_mode(&machine.file(directory), 0o700);
        }
        let link = |target: &Path, name: &str| symlink(target, machine.file(name)).unwrap();
        link(&machine.store(), "links/absolute.db");
        link(Path::new("../pdkeys/pdkeys.db"), "links/relative");
        link(Path::new("../links/relative"), "chains/chain.db");
        link(Path::new("pdkeys"), "directory");
        link(Path::new("../directory/pdkeys.db"), "links/through-a-link.db");
        link(Path::new("pdkeys.db"), "pdkeys/beside.example.org");
        let links = [
            "links/absolute.db",
            "links/relative",
            "./chains/chain.db",
            "chains/../links/relative",
            "directory/pdkeys.db",
            "links/through-a-link.db",
            "pdkeys/beside.example.org",
        ];
        let mut links: Vec<String> = links.map(str::to_owned).into();
        links.push(machine.file("links/relative").to_str().unwrap().to_owned());
        Self { machine, links }
    }
}

#[test]
fn a_link_to_a_store_finds_what_lies_beside_the_store() {
    let Linked { machine, links } = Linked::new();
    let before = ["links", "chains"].map(|directory| names_in(&machine.file(directory)));
    let (id, secret) = machine.make_key("checked", &["--rate-limit", "100/min"]);
    for (checks, link) in (1..).zip(&links) {
        let on = |arguments: &[&str]| machine.run([&["--store", link.as_str()], arguments].concat());
        on(&["create", link]).must_succeed();
        let made = on(&["list", "-o", "json"]).must_succeed().json();
        assert!(made.as_array().unwrap().iter().any(|key| key["description"] == *link), "{made}");
        // Counted in one place, whatever the name: the window goes on.
        let mut verify = machine.command([
            "--store",
            link,
            "verify",
            "--method",
            "GET",
            "--path",
            "/incidents",
            "-o",
            "json",
        ]);
        let verdict = machine.finish(verify.env("PDKEYS_KEY", &secret)).must_succeed().json();
        assert_eq!(verdict["rate_limit"]["remaining"], 100 - checks, "{link}: {verdict}");
        assert!(on(&["show", &id, "-o", "json"]).must_succeed().json()["last_used_at"].is_string());
        on(&["audit", "verify"]).must_succeed();
        on(&["doctor"]).must_succeed();
    }
    assert_eq!(before, ["links", "chains"].map(|directory| names_in(&machine.file(directory))));
    let mut beside = names_in(&machine.directory());
    beside.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    assert_eq!(beside, ["beside.example.org", "pdkeys.db", "pdkeys.storekey", "pdkeys.usage.db"]);
}

#[test]
fn files_beside_a_link_are_not_those_of_the_store() {
    let Linked { machine, .. } = Linked::new();
    fs::write(machine.file("links/absolute.storekey"), "another key, of 32 bytes in all.").unwrap();
    set_mode(&machine.file("links/absolute.storekey"), 0o600);
    fs::write(machine.file("links/absolute.usage.db"), "no usage file").unwrap();
    machine.run(["--store", "links/absolute.db", "create", "ci"]).must_succeed();
    assert_eq!(fs::read(machine.file("links/absolute.usage.db")).unwrap(), b"no usage file");
}

#[test]
fn what_a_store_was_restored_over_stays_beside_the_store() {
    let Linked { machine, .. } = Linked::new();
    machine.run(["backup", "copy.db"]).must_succeed();
    machine.run(["--store", "links/relative", "restore", "copy.db", "--yes"]).must_succeed();
    let replaced = |directory: &Path| names_in(directory).iter().any(|name| name.contains(".replaced-"));
    assert!(replaced(&machine.directory()) && !replaced(&machine.file("links")));
    assert!(fs::symlink_metadata(machine.file("links/relative")).unwrap().is_symlink());
}

#[test]
fn a_link_that_leads_nowhere_is_the_place_that_it_leads_to() {
    let machine = Machine::new();
    for directory in ["links", "var"] {
        fs::create_dir(machine.file(directory)).unwrap();
        set_mode(&machine.file(directory), 0o700);
    }
    symlink("../var/acme.db", machine.file("links/acme.db")).unwrap();
    let missing = machine.run(["--store", "links/acme.db", "list"]).must_exit(1);
    assert!(missing.stderr.contains("no store at links/../var/acme.db"), "{missing}");
    machine.run(["--store", "links/acme.db", "init"]).must_succeed();
    assert_eq!(names_in(&machine.file("links")), ["acme.db"]);
    machine.run(["--store", "var/acme.db", "backup", "copy.db"]).must_succeed();
    // A lost store is restored to where it was.
    fs::remove_file(machine.file("var/acme.db")).unwrap();
    machine.run(["--store", "links/acme.db", "restore", "copy.db", "--yes"]).must_succeed();
    machine.run(["--store", "var/acme.db", "list"]).must_succeed();
    machine.run(["--store", "links/acme.db", "init"]).must_exit(1);
    // One that leads to itself leads to no store.
    symlink("loop.db", machine.file("links/loop.db")).unwrap();
    machine.run(["--store", "links/loop.db", "list"]).must_exit(1);
    machine.run(["--store", "links/loop.db", "init"]).must_exit(1);
}
