//! A service account owns a store, and people reach it through sudo: what they cannot have the account do for them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use insta::assert_snapshot;

use crate::session::{
    Machine, Ran, SOMEBODY as SERVICE, SOMEBODY_ELSE as EVE, can_be_others, files_below, names_in, pdkeys,
    set_mode,
};

/// The operating-system user who is the Account Owner behind the wall.
const ADA: u32 = 61_236;

/// A store of a service account in `var`, with `ada` as its owner and `eve` as a Responder, who has a directory of her
/// own.
struct Wall {
    machine: Machine,
}

impl Wall {
    /// `None` where commands cannot be run as other users.
    fn new() -> Option<Self> {
        if !can_be_others() {
            return None;
        }
        let machine = Machine::new();
        set_mode(machine.home(), 0o711);
        for (name, uid, mode) in [("var", SERVICE, 0o700), ("eve", EVE, 0o755)] {
            fs::create_dir(machine.file(name)).unwrap();
            give(&machine.file(name), uid);
            set_mode(&machine.file(name), mode);
        }
        let wall = Self { machine };
        let ada = ADA.to_string();
        wall.service(&["init", "acme", "--owner", "ada", "--os-user", &ada]).must_succeed();
        let eve = EVE.to_string();
        wall.by(ADA, &["user", "add", "eve", "--role", "limited_user", "--os-user", &eve]).must_succeed();
        Some(wall)
    }

    fn path(&self, name: &str) -> String {
        self.machine.file(name).to_str().unwrap().to_owned()
    }

    /// A command of the service account itself.
    fn service(&self, arguments: &[&str]) -> Ran<'_> {
        let store = self.path("var/acme.db");
        self.machine.run_as(SERVICE, ["--store", &store].into_iter().chain(arguments.iter().copied()))
    }

    /// A command that is not yet run, as sudo runs it for a caller, with whatever arguments.
    fn command(&self, sudo_uid: &str, arguments: &[&str]) -> Command {
        let mut command = self.machine.command_of(SERVICE, arguments.iter().copied());
        command.env("SUDO_UID", sudo_uid);
        command
    }

    /// The same with the store, run.
    fn by(&self, caller: u32, arguments: &[&str]) -> Ran<'_> {
        let store = self.path("var/acme.db");
        let arguments: Vec<_> = ["--store", &store].into_iter().chain(arguments.iter().copied()).collect();
        self.machine.finish(&mut self.command(&caller.to_string(), &arguments))
    }

    /// A command with a store that the caller names.
    fn at(&self, caller: u32, store: &str, arguments: &[&str]) -> Ran<'_> {
        let arguments: Vec<_> = ["--store", store].into_iter().chain(arguments.iter().copied()).collect();
        self.machine.finish(&mut self.command(&caller.to_string(), &arguments))
    }

    /// A backup in `var`, which the account owns, as the Account Owner has made it through standard output.
    fn backup(&self) -> String {
        let (store, copy) = (self.path("var/acme.db"), self.machine.file("var/copy.db"));
        let mut command = self.command(&ADA.to_string(), &["--store", &store, "backup", "-"]);
        assert!(command.stdout(fs::File::create(&copy).unwrap()).status().unwrap().success());
        give(&copy, SERVICE);
        self.path("var/copy.db")
    }

    /// Asserts that an attempt is refused with a code, and leaves every file as it was.
    #[track_caller]
    fn refuses(&self, code: i32, attempt: impl FnOnce() -> String) -> String {
        let files = || {
            let whole = files_below(self.machine.home()).into_iter();
            whole.map(|file| (file.clone(), fs::read(file).ok())).collect::<Vec<_>>()
        };
        let before = files();
        let said = attempt();
        assert!(said.starts_with(&format!("exit: {code}\n")), "{said}");
        let names = |files: &[(PathBuf, Option<Vec<u8>>)]| {
            files.iter().map(|(file, _)| file.display().to_string()).collect::<Vec<_>>()
        };
        let after = files();
        assert_eq!(names(&before), names(&after), "{said}");
        assert!(before == after, "a file changed: {said}");
        said
    }
}

fn give(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
}

#[test]
fn nothing_is_founded_for_a_caller() {
    let Some(wall) = Wall::new() else { return };
    let eve = EVE.to_string();
    assert_snapshot!(wall.refuses(4, || wall.at(EVE, &wall.path("var/acme.z"), &["init", "x"]).to_string()), @r"
    exit: 4
    --- stdout
    --- stderr
    error: no store is made or brought back under sudo: none says whether the caller may
    hint: an administrator can: sudo -u ACCOUNT env -u SUDO_UID pdkeys ..., with init --os-user to name the owner
    ");
    for store in ["var/acme.x", "var/acme.db", "var/new/keys.db", "eve/keys.db", "missing/keys.db"] {
        wall.refuses(4, || wall.at(EVE, &wall.path(store), &["init", "x", "--os-user", &eve]).to_string());
    }
    // The default place is another that has no store yet.
    let machine = Machine::new();
    machine.give_to(SERVICE);
    for arguments in [&["create", "x"][..], &["user", "add", "x", "--role", "admin"], &["init", "x"]] {
        let mut command = machine.command_of(SERVICE, arguments.iter().copied());
        machine.finish(command.env("SUDO_UID", &eve)).must_exit(4);
    }
    assert_eq!(names_in(machine.home()), [""; 0]);
}

#[test]
fn every_way_to_have_a_caller_is_known() {
    let Some(wall) = Wall::new() else { return };
    let store = wall.path("var/acme.x");
    let callers = [
        ("SUDO_UID", "61235"),
        ("SUDO_UID", ""),
        ("SUDO_UID", "eve"),
        ("SUDO_UID", "-1"),
        ("SUDO_UID", "4294967295"),
        ("SUDO_UID", "0x0"),
        ("PKEXEC_UID", "61235"),
        ("PKEXEC_UID", ""),
        ("DOAS_USER", "nobody"),
        ("DOAS_USER", "not a user"),
    ];
    for (name, value) in callers {
        let mut command = wall.machine.command_of(SERVICE, ["--store", &store, "init", "x"]);
        wall.refuses(4, || wall.machine.finish(command.env(name, value)).to_string());
    }
    // Root, and the account itself, are those who could do it in any case.
    for (number, uid) in [0, SERVICE].iter().enumerate() {
        let store = wall.path(&format!("var/own{number}.db"));
        wall.at(*uid, &store, &["init", "x", "--owner", "x"]).must_succeed();
    }
}

#[test]
fn nothing_is_restored_where_no_store_says_who_owns_it() {
    let Some(wall) = Wall::new() else { return };
    let copy = wall.backup();
    let restore = |store: &str| {
        let mut command = wall.command(&EVE.to_string(), &["--store", store, "restore", "-", "--yes"]);
        command.stdin(Stdio::from(fs::File::open(&copy).unwrap()));
        wall.machine.finish(&mut command).to_string()
    };
    for store in ["eve/acme.db", "eve/new/acme.db"] {
        wall.refuses(1, || restore(&wall.path(store)));
    }
    for store in ["var/acme.x", "var/acme", "var/new/acme.db", "missing/acme.db"] {
        wall.refuses(4, || restore(&wall.path(store)));
        let named =
            [&["restore", &copy, "--yes"][..], &["restore", &copy, "--store-key", "var/acme.storekey", "-y"]];
        for arguments in named {
            wall.refuses(4, || wall.at(EVE, &wall.path(store), arguments).to_string());
        }
    }
    // A store that cannot be read says nothing, either.
    let store = wall.path("var/acme.db");
    let whole = fs::read(&store).unwrap();
    fs::write(&store, &whole[..whole.len() / 2]).unwrap();
    wall.refuses(4, || restore(&store));
    fs::remove_file(&store).unwrap();
    wall.refuses(4, || restore(&store));
    wall.service(&["restore", &copy, "--yes"]).must_succeed();
}

#[test]
fn a_caller_names_no_file_but_the_store() {
    let Some(wall) = Wall::new() else { return };
    let (inside, own) = (wall.path("var/mine"), wall.path("eve/mine"));
    fs::write(&own, "kind,secret\n").unwrap();
    fs::create_dir(wall.machine.file("eve/tree")).unwrap();
    let socket = format!("unix:{}", wall.path("var/acme.usage.db"));
    let made_of = |file: &str| format!("--write-to={file}");
    for arguments in [
        &["create", "x", "--write-to", &inside][..],
        &["create", "x", &made_of(&own)],
        &["create", "x", &made_of(&wall.path("var/acme.usage.db"))],
        &["rotate", "K00000001", "--write-to", &inside],
        &["token", "create", "x", "--write-to", &inside],
        &["token", "rotate", "T00000001", "--write-to", &inside],
        &["app", "register", "x", "--scope", "incidents.read", "--write-to", &inside],
        &["backup", &inside],
        &["backup", &own],
        &["backup", "-", "--with-store-key", &inside],
        &["restore", &own, "-y"],
        &["restore", "-", "--store-key", &wall.path("var/acme.storekey"), "-y"],
        &["import", &own],
        &["user", "import", &own],
        &["verify", "--key-file", &wall.path("var/acme.storekey"), "--method", "GET", "--path", "/x"],
        &["revoke", "--key-file", &own],
        &["scan", &wall.path("var")],
        &["scan", "-", &wall.path("eve/tree")],
        &["scan", "--git"],
        &["scan", "--git", &wall.path("eve/tree")],
        &["man", &wall.path("var")],
        &["list", "--token-file", &own],
        &["--token-file", &own, "list"],
        &["serve", "--listen", &socket],
        &["serve", "--listen", "127.0.0.1:0", "--metrics-listen", &socket],
    ] {
        let said = wall.refuses(4, || wall.by(ADA, arguments).to_string());
        assert!(said.contains(" is not taken under sudo"), "{arguments:?}: {said}");
    }
    assert_snapshot!(wall.by(ADA, &["create", "x", "--write-to", &own]), @r"
    exit: 4
    --- stdout
    --- stderr
    error: --write-to is not taken under sudo: the file would be opened with another user's rights
    hint: use standard input or output, which your shell opens: < FILE, > FILE; - stands for them where a file must be named
    ");
}

#[test]
fn a_caller_has_standard_input_and_output_instead() {
    let Some(wall) = Wall::new() else { return };
    let file = |name: &str| wall.machine.file(name);
    let store = wall.path("var/acme.db");
    let run = |arguments: &[&str], input: Option<&str>, output: Option<&str>| {
        let arguments: Vec<_> = ["--store", &store].into_iter().chain(arguments.iter().copied()).collect();
        let mut command = wall.command(&ADA.to_string(), &arguments);
        if let Some(input) = input {
            command.stdin(Stdio::from(fs::File::open(file(input)).unwrap()));
        }
        if let Some(output) = output {
            command.stdout(Stdio::from(fs::File::create(file(output)).unwrap()));
            // What is piped is not the file.
            assert!(command.status().unwrap().success());
            return String::new();
        }
        wall.machine.finish(&mut command).to_string()
    };
    // Not even root's own file is out of reach of those whose shell could open it.
    run(&["backup", "-"], None, Some("copy.db"));
    set_mode(&file("copy.db"), 0o600);
    wall.by(ADA, &["create", "later"]).must_succeed();
    assert_snapshot!(run(&["restore", "-", "--yes", "-q"], Some("copy.db"), None), @r"
    exit: 0
    --- stdout
    --- stderr
    ");
    let listed = wall.by(ADA, &["list", "-o", "jsonl"]).must_succeed();
    assert_eq!(listed.stdout, "");
    // What is there already, and what is no backup, is told.
    fs::write(file("half.db"), &fs::read(file("copy.db")).unwrap()[..8192]).unwrap();
    assert!(run(&["restore", "-", "--yes"], Some("half.db"), None).contains("damaged or cut off"));
    fs::write(file("text"), "no backup").unwrap();
    assert!(run(&["restore", "-", "--yes"], Some("text"), None).contains("not a pdkeys store"));
    assert!(run(&["restore", "-", "--yes"], Some("var/acme.db"), None).contains("is the store itself"));
    fs::write(file("keys.csv"), "kind,secret,description,access\ngeneral,aBcDeFgHiJkLmNoPqRs1,old,full\n")
        .unwrap();
    let imported = run(&["import", "-", "--format", "csv"], Some("keys.csv"), None);
    assert!(imported.starts_with("exit: 0"), "{imported}");
    assert_eq!(wall.by(ADA, &["list", "-o", "jsonl"]).must_succeed().stdout.lines().count(), 1);
    let found = run(&["scan", "-"], Some("keys.csv"), None);
    assert!(found.starts_with("exit: 3"), "{found}");
}

#[test]
fn a_store_is_not_used_by_a_way_that_another_user_can_change() {
    let Some(wall) = Wall::new() else { return };
    let refused = |store: &str, names: &str| {
        for arguments in [&["list"][..], &["integration", "list"], &["restore", "-", "--yes"]] {
            let said = wall.refuses(1, || wall.at(EVE, store, arguments).to_string());
            assert!(said.contains(&format!("error: [HOME]/{names}: ")), "{store}: {said}");
        }
    };
    // A link of the caller's to the real store: by the time that it is opened it may lead elsewhere.
    symlink(wall.machine.file("var/acme.db"), wall.machine.file("eve/link.db")).unwrap();
    refused(&wall.path("eve/link.db"), "eve");
    refused(&wall.path("eve/../eve/./link.db"), "eve");
    // A directory of the caller's on the way, though what it leads to is the account's.
    symlink(wall.machine.file("var"), wall.machine.file("eve/dir")).unwrap();
    refused(&wall.path("eve/dir/acme.db"), "eve");
    // A chain of links that begins with one of root's.
    symlink(wall.machine.file("eve/dir"), wall.machine.file("chain")).unwrap();
    refused(&wall.path("chain/acme.db"), "eve");
    // A link of the caller's in a directory that everybody can make one in.
    let shared = wall.machine.file("shared");
    fs::create_dir(&shared).unwrap();
    set_mode(&shared, 0o1777);
    symlink(wall.machine.file("var"), shared.join("var")).unwrap();
    lchown(shared.join("var"), Some(EVE), Some(EVE)).unwrap();
    refused(&wall.path("shared/var/acme.db"), "shared/var");
    // A relative path in a directory of the caller's.
    let mut command = wall.command(&EVE.to_string(), &["--store", "dir/acme.db", "list"]);
    let said =
        wall.refuses(1, || wall.machine.finish(command.current_dir(wall.machine.file("eve"))).to_string());
    assert!(said.contains("error: [HOME]/eve: belongs to another operating-system user (61235)"), "{said}");
    // Links of root's, and of the account's own, are as good as the store.
    lchown(shared.join("var"), Some(SERVICE), Some(SERVICE)).unwrap();
    fs::remove_file(wall.machine.file("chain")).unwrap();
    symlink("var", wall.machine.file("chain")).unwrap();
    for store in ["shared/var/acme.db", "chain/acme.db", "eve/../var/acme.db"] {
        let ran = wall.at(ADA, &wall.path(store), &["list"]);
        if store.starts_with("eve") {
            ran.must_exit(1);
        } else {
            ran.must_succeed();
        }
    }
    // What others can write is changed as easily as what they own.
    fs::create_dir(wall.machine.file("open")).unwrap();
    symlink("../var", wall.machine.file("open/var")).unwrap();
    for mode in [0o775, 0o757, 0o777] {
        set_mode(&wall.machine.file("open"), mode);
        refused(&wall.path("open/var/acme.db"), "open");
    }
    set_mode(&wall.machine.file("open"), 0o755);
    wall.at(ADA, &wall.path("open/var/acme.db"), &["list"]).must_succeed();
}

#[test]
fn a_store_is_not_used_by_a_way_that_ended_when_it_was_looked_at() {
    let Some(wall) = Wall::new() else { return };
    symlink(wall.machine.file("var"), wall.machine.file("eve/dir")).unwrap();
    let shared = wall.machine.file("shared");
    fs::create_dir(&shared).unwrap();
    set_mode(&shared, 0o1777);
    let key = wall.path("var/acme.storekey");
    // What is written in a link to what a process has open is no path: here the directory is gone, and what comes
    // behind it was not looked at.
    for way in ["/proc/self/cwd/../eve/dir", "/proc/self/cwd/../../eve/dir", "/dev/fd/8/../../eve/dir"] {
        let store = format!("{way}/acme.db");
        for arguments in [&["list"][..], &["create", "x"], &["restore", "-", "--yes"]] {
            wall.refuses(1, || {
                let arguments: Vec<_> = ["--store", &store].iter().chain(arguments).copied().collect();
                let mut command = Command::new("sh");
                // She removes her directory while she is in it.
                command.arg("-c").arg(
                    r#"mkdir gone; chown "$2" gone; cd gone; exec 8<.; rmdir ../gone; exec 9<"$1"
                    uid=$3; shift 3; exec setpriv --reuid=$uid --regid=$uid --clear-groups /proc/self/fd/9 "$@""#,
                );
                command.arg("sh").arg(pdkeys()).arg(EVE.to_string()).arg(SERVICE.to_string()).args(arguments);
                command.current_dir(&shared).env("SUDO_UID", EVE.to_string()).env("HOME", "/nonexistent");
                let said = wall.machine.finish(&mut command).to_string();
                assert!(said.contains("leads to what a process has open"), "{store}: {said}");
                said
            });
        }
    }
    // And neither is a store key.
    let mut command = wall.command(&ADA.to_string(), &["--store", &wall.path("var/acme.db"), "create", "x"]);
    command.env("PDKEYS_STORE_KEY_FILE", format!("/proc/self/root{key}"));
    wall.refuses(1, || wall.machine.finish(&mut command).to_string());
}

#[test]
fn a_directory_that_comes_and_goes_is_never_the_way_to_a_store() {
    let Some(wall) = Wall::new() else { return };
    let shared = wall.machine.file("shared");
    fs::create_dir(&shared).unwrap();
    set_mode(&shared, 0o1777);
    // Eve's directory in a sticky one, with a link of hers; where it is not there at the first look, it may be at the
    // next.
    let (here, away) = (shared.join("here"), shared.join("away"));
    fs::create_dir(&here).unwrap();
    symlink(wall.machine.file("var"), here.join("var")).unwrap();
    lchown(here.join("var"), Some(EVE), Some(EVE)).unwrap();
    give(&here, EVE);
    let done = AtomicBool::new(false);
    let opened = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::rename(&here, &away).unwrap();
                thread::sleep(Duration::from_micros(300));
                fs::rename(&away, &here).unwrap();
                thread::sleep(Duration::from_micros(300));
            }
        });
        let store = wall.path("shared/here/var/acme.db");
        let opened = (0..200).filter(|_| wall.at(EVE, &store, &["service", "list"]).code() == 0).count();
        done.store(true, Ordering::Relaxed);
        opened
    });
    assert_eq!(opened, 0);
}

#[test]
fn a_store_key_is_not_read_by_a_way_that_another_user_can_change() {
    let Some(wall) = Wall::new() else { return };
    symlink(wall.machine.file("var/acme.storekey"), wall.machine.file("eve/key")).unwrap();
    let store = wall.path("var/acme.db");
    let mut command = wall.command(&ADA.to_string(), &["--store", &store, "create", "x"]);
    let said =
        wall.refuses(1, || wall.machine.finish(command.env("PDKEYS_STORE_KEY_FILE", "eve/key")).to_string());
    assert!(said.contains("error: [HOME]/eve: belongs to another"), "{said}");
}

#[test]
fn root_opens_the_store_of_an_account_and_none_of_its_caller() {
    let Some(wall) = Wall::new() else { return };
    let as_root = |sudo_uid: Option<u32>, store: &str| {
        let mut command = wall.machine.command(["--store", &wall.path(store), "whoami"]);
        command.envs(sudo_uid.map(|uid| ("SUDO_UID", uid.to_string())));
        wall.machine.finish(&mut command)
    };
    wall.machine
        .run_as(EVE, ["--store", &wall.path("eve/own.db"), "init", "x", "--owner", "eve"])
        .must_succeed();
    as_root(Some(ADA), "var/acme.db").must_succeed();
    as_root(Some(EVE), "var/acme.db").must_succeed();
    let said = as_root(Some(EVE), "eve/own.db").must_exit(1);
    assert!(said.stderr.contains("eve: belongs to another operating-system user (61235)"), "{said}");
    // The way must be root's or the account's.
    symlink(wall.machine.file("var"), wall.machine.file("eve/dir")).unwrap();
    for caller in [None, Some(ADA), Some(EVE)] {
        let said = as_root(caller, "eve/dir/acme.db").must_exit(1);
        assert!(said.stderr.contains("belongs to another operating-system user (61235)"), "{said}");
    }
}

#[test]
fn a_store_that_a_backup_took_the_place_of_is_not_shown_to_a_caller() {
    let Some(wall) = Wall::new() else { return };
    let copy = wall.backup();
    let mut restore =
        wall.command(&ADA.to_string(), &["--store", &wall.path("var/acme.db"), "restore", "-", "-y"]);
    restore.stdin(Stdio::from(fs::File::open(copy).unwrap()));
    wall.machine.finish(&mut restore).must_succeed();
    let replaced = names_in(&wall.machine.file("var")).into_iter().find(|name| name.contains(".replaced-"));
    let replaced = wall.path(&format!("var/{}", replaced.unwrap()));
    wall.refuses(4, || wall.at(EVE, &replaced, &["service", "list"]).to_string());
}

#[test]
fn a_store_that_is_named_first_cannot_be_named_again() {
    let machine = Machine::with_store();
    let other = Machine::with_store();
    let (store, another) = (machine.store(), other.store());
    let (store, another) = (store.to_str().unwrap(), another.to_str().unwrap());
    let equals = format!("--store={another}");
    for arguments in [
        &["--store", store, "list", "--store", another][..],
        &["--store", store, "list", &equals],
        &["--store", store, &equals, "list"],
        &["--store", store, "user", &equals, "list"],
        &["--store", store, "user", "list", "--store", another],
        &["list", "--as", "ann", "--as", "ann"],
        &["--as", "ann", "user", "list", "--as=ann"],
    ] {
        let ran = machine.refuses(arguments.iter().copied()).must_exit(2);
        assert!(ran.stderr.contains("cannot be used multiple times"), "{ran}");
    }
    // What only looks like it is a value.
    machine.run(["--store", store, "create", "--", "--store"]).must_succeed();
}

/// The recipe of README.md, with the accounts that every Debian has.
#[test]
fn people_reach_a_store_through_sudo_and_no_other() {
    // Only root can write a rule for sudo.
    if !can_be_others() {
        return;
    }
    assert!(Path::new("/usr/bin/sudo").exists(), "tests/run installs sudo");
    let (service, ada, eve) = ("daemon", "games", "nobody");
    let machine = Machine::new();
    set_mode(machine.home(), 0o755);
    let [var, program, wrapper] = ["var", "pdkeys-under-test", "acme-keys"].map(|name| machine.file(name));
    fs::create_dir(&var).unwrap();
    fs::copy(pdkeys(), &program).unwrap();
    let store = var.join("acme.db");
    let (store, key) = (store.to_str().unwrap(), var.join("acme.storekey"));
    let script = format!("#!/bin/sh\nexec {} --store {store} \"$@\"\n", program.display());
    fs::write(&wrapper, script).unwrap();
    set_mode(&program, 0o755);
    set_mode(&wrapper, 0o755);
    let setup = machine.run_shell(&format!(
        "set -e; chown {service}: {var}; chmod 700 {var}; as() {{ setpriv --reuid={service} --regid={service} --clear-groups \"$@\"; }}
         as {program} --store {store} init acme --owner ada --os-user {ada} >&2
         SUDO_UID=$(id -u {ada}) as {program} --store {store} user add eve --role limited_user --os-user {eve} >&2",
        var = var.display(),
        program = program.display(),
    ));
    setup.must_succeed();
    let _rule =
        SudoRule::new(&format!("{ada}, {eve} ALL = ({service}) NOPASSWD: NOSETENV: {}", wrapper.display()));
    let through_sudo = |caller: &str, rest: &str| {
        machine.run_shell(&format!(
            "exec setpriv --reuid={caller} --regid=$(id -g {caller}) --clear-groups sudo -n -u {service} {rest}"
        ))
    };
    let wrapper = wrapper.to_str().unwrap();
    let me = through_sudo(ada, &format!("{wrapper} whoami -o json")).must_succeed().json();
    assert_eq!(me["name"], "ada");
    through_sudo(ada, &format!("{wrapper} create ci")).must_succeed();
    assert_eq!(
        through_sudo(eve, &format!("{wrapper} whoami -o json")).must_succeed().json()["role"],
        "limited_user"
    );
    through_sudo(eve, &format!("{wrapper} create x")).must_exit(4);
    through_sudo(eve, &format!("{wrapper} init x")).must_exit(4);
    through_sudo(eve, &format!("{wrapper} --store {} init x", var.join("acme.z").display())).must_exit(2);
    through_sudo(eve, &format!("{wrapper} list --store={}", var.join("acme.z").display())).must_exit(2);
    through_sudo(ada, &format!("{wrapper} create x --write-to {}", var.join("acme.usage.db").display()))
        .must_exit(4);
    // sudo itself keeps the rest away.
    let environment = format!("PDKEYS_STORE_KEY_FILE={} {wrapper} list", key.display());
    assert!(!through_sudo(eve, &environment).status.success());
    assert!(!through_sudo(eve, &format!("{} list", program.display())).status.success());
    assert_eq!(
        names_in(&var).iter().filter(|name| !name.starts_with("acme.db")).collect::<Vec<_>>(),
        ["acme.storekey"]
    );
}

/// A rule for sudo, which goes when it is dropped.
struct SudoRule(PathBuf);

impl SudoRule {
    fn new(rule: &str) -> Self {
        let path = PathBuf::from(format!("/etc/sudoers.d/pdkeys-test-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        fs::write(&path, format!("{rule}\n")).unwrap();
        Self(path)
    }
}

impl Drop for SudoRule {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
