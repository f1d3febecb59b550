//! The store, while a server runs over it: deleted, replaced, locked, unreadable, and back again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use crate::displacements::{Way, each, run};
use crate::http::request;
use crate::world::{Server, World, move_store};

/// How long it may take until the server has noticed: it looks every second, and has other things to do.
const NOTICED: Duration = Duration::from_secs(4);

fn is_unusable(server: &Server, key: &str) -> bool {
    server.get("/readyz").status == 503 && server.auth(key, "GET", "/incidents").status == 503
}

fn is_usable(server: &Server, key: &str) -> bool {
    server.get("/readyz").status == 200 && server.auth(key, "GET", "/incidents").status == 200
}

/// Waits until the server has noticed that its store cannot be used, and sees that nothing is allowed from then on.
fn sees_it_unusable(server: &Server, key: &str) {
    let began = Instant::now();
    while !is_unusable(server, key) {
        assert!(began.elapsed() < NOTICED, "{}", server.log());
    }
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        assert!(is_unusable(server, key));
    }
    let question = format!(r#"{{"key": "{key}", "method": "GET", "path": "/teams"}}"#);
    for body in [question.clone(), format!("[{question}]")] {
        assert_eq!(server.ask("POST", "/verify", &[], &body).status, 503);
    }
    assert_eq!(server.get("/healthz").status, 200, "the process lives");
}

fn sees_it_usable(server: &Server, key: &str) {
    let began = Instant::now();
    while !is_usable(server, key) {
        assert!(began.elapsed() < NOTICED, "{}", server.log());
    }
}

#[test]
fn a_store_that_is_deleted_allows_nothing_until_it_is_back() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&[]);
    sees_it_usable(&server, &key);
    let away = world.file("away.db");
    move_store(&world.store(), &away);
    sees_it_unusable(&server, &key);
    move_store(&away, &world.store());
    sees_it_usable(&server, &key);
    let log = server.stop();
    assert_eq!(log.matches("the store cannot be used").count(), 1, "{log}");
    assert_eq!(log.matches("the store can be used again").count(), 1, "{log}");
}

#[test]
fn a_store_that_is_replaced_by_another_is_used_with_its_own_store_key() {
    let world = World::new();
    let (_, old) = world.key();
    let server = world.serve(&[]);
    sees_it_usable(&server, &old);
    move_store(&world.store(), &world.file("old.db"));
    fs::rename(world.file("keys.storekey"), world.file("old.storekey")).unwrap();
    world.run(&["init", "other", "--owner", "ann"]);
    let (_, new) = world.key();
    sees_it_usable(&server, &new);
    assert_eq!(server.auth(&old, "GET", "/incidents").status, 401);
    fs::remove_file(world.file("keys.storekey")).unwrap();
    sees_it_unusable(&server, &new);
    fs::copy(world.file("old.storekey"), world.file("keys.storekey")).unwrap();
    sees_it_unusable(&server, &new);
}

/// Keeps everybody out of a store, in a way that a program of its own has to choose.
fn lock_for_everybody(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    connection
}

#[test]
fn a_locked_store_allows_nothing_and_holds_nobody_up() {
    let world = World::new();
    let (_, old) = world.key();
    let server = world.serve(&[]);
    sees_it_usable(&server, &old);
    // Nobody can lock a store that the server has open: one comes that is locked already.
    move_store(&world.store(), &world.file("old.db"));
    fs::rename(world.file("keys.storekey"), world.file("old.storekey")).unwrap();
    world.run(&["init", "other", "--owner", "ann"]);
    let (_, new) = world.key();
    let elsewhere = world.file("elsewhere.db");
    move_store(&world.store(), &elsewhere);
    let lock = lock_for_everybody(&elsewhere);
    move_store(&elsewhere, &world.store());
    sees_it_unusable(&server, &new);
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(server.auth(&new, "GET", "/incidents").status, 503);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(lock);
    sees_it_usable(&server, &new);
}

#[test]
fn checks_go_on_while_another_process_writes_and_tokens_wait_for_it() {
    let world = World::new();
    let (_, key) = world.key();
    let (client, secret) = world.make(&["app", "register", "crm", "--scope", "teams.read"]);
    let server = world.serve(&[]);
    let mut writer = Connection::open(world.store()).unwrap();
    let writing = writer.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let mut app = server.connect();
    app.send(request("POST", "/oauth/token", &headers, &form)).unwrap();
    for _ in 0..20 {
        assert!(is_usable(&server, &key));
    }
    writing.rollback().unwrap();
    assert_eq!(app.reply().unwrap().status, 200);
}

#[test]
fn counts_that_cannot_be_written_make_it_unready_and_are_kept() {
    let world = World::new();
    let (id, key) = world.key();
    let server = world.serve(&[]);
    sees_it_usable(&server, &key);
    server.wait_until("the usage file is made", |_| world.file("keys.usage.db-wal").exists());
    let mut usage = Connection::open(world.file("keys.usage.db")).unwrap();
    usage.busy_timeout(Duration::from_secs(5)).unwrap();
    let lock = usage.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    server.wait_until("it is noticed", |server| server.get("/readyz").status == 503);
    assert_eq!(server.get("/readyz").json()["counts"], false);
    for _ in 0..7 {
        assert_eq!(server.auth(&key, "GET", "/incidents").status, 200, "checks never wait for counts");
    }
    lock.rollback().unwrap();
    server.wait_until("it is ready again", |server| server.get("/readyz").status == 200);
    server.stop();
    let allowed: u64 =
        usage.query_row("SELECT sum(allowed) FROM hourly WHERE id = ?1", [&id], |row| row.get(0)).unwrap();
    assert_eq!(allowed, 8);
}

#[test]
fn the_log_of_the_store_stays_whoever_else_closes_it() {
    let world = World::new();
    let (id, key) = world.key();
    let server = world.serve(&[]);
    sees_it_usable(&server, &key);
    // Long enough for the server to have opened the store several times over.
    std::thread::sleep(Duration::from_millis(2_500));
    for disabled in [true, false, true] {
        let other = Connection::open(world.store()).unwrap();
        let change = "UPDATE general_key SET disabled_at = iif(?1, 1, NULL), disabled_by = iif(?1, created_by, NULL) WHERE id = ?2";
        assert_eq!(other.execute(change, rusqlite::params![disabled, id]).unwrap(), 1);
        // The last to close a store removes its log. This is not the last.
        other.close().unwrap();
        let expected = if disabled { 401 } else { 200 };
        assert_eq!(server.auth(&key, "GET", "/incidents").status, expected);
    }
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid()));
    for entry in open.into_iter().flatten().flatten() {
        let file = fs::read_link(entry.path()).unwrap_or_default();
        assert!(!file.to_string_lossy().ends_with("(deleted)"), "{}", file.display());
    }
}

/// Waits until the server answers about a key as expected, and sees that it never allows it once it has looked.
fn denies_or_cannot_tell(server: &Server, key: &str, ends_with: u16, what: &str) {
    let began = Instant::now();
    loop {
        let status = server.auth(key, "GET", "/incidents").status;
        assert!(status != 200 || began.elapsed() < Duration::from_millis(1_500), "{what}: {}", server.log());
        if status == ends_with && began.elapsed() > Duration::from_millis(1_500) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(8), "{what}: {status} {}", server.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn files_that_others_do_not_find_allow_nothing_until_the_store_is_opened_anew() {
    let displaced = |way: &Way| {
        let world = World::new();
        let (id, key) = world.key();
        let server = world.serve(&[]);
        sees_it_usable(&server, &key);
        way.happen(&world.store());
        server.wait_until(way.what, |server| server.get("/readyz").json()["store"] == false);
        if way.can_be_opened {
            // Whatever else is done now is seen, as soon as the server has opened the store anew.
            world.run(&["disable", &id, "--yes"]);
            denies_or_cannot_tell(&server, &key, 401, way.what);
            server.wait_until(way.what, |server| server.get("/readyz").status == 200);
        } else {
            denies_or_cannot_tell(&server, &key, 503, way.what);
            run("rm $store.other", &world.store());
            sees_it_usable(&server, &key);
        }
        let log = server.stop();
        assert_eq!(log.matches("the store cannot be used").count(), 1, "{}: {log}", way.what);
        assert_eq!(log.matches(way.told).count(), 1, "{}: {log}", way.what);
        assert_eq!(log.matches("the store can be used again").count(), 1, "{}: {log}", way.what);
    };
    each(displaced);
}

#[test]
fn a_key_that_others_disable_under_displaced_files_is_not_allowed() {
    let displaced = |way: &Way| {
        let world = World::new();
        let (id, key) = world.key();
        let server = world.serve(&[]);
        sees_it_usable(&server, &key);
        way.happen(&world.store());
        if way.can_be_opened {
            world.run(&["disable", &id, "--yes"]);
        }
        denies_or_cannot_tell(&server, &key, if way.can_be_opened { 401 } else { 503 }, way.what);
        drop(server);
    };
    each(displaced);
}

#[test]
fn a_store_that_is_copied_over_in_place_is_opened_anew() {
    let world = World::new();
    let (id, key) = world.key();
    run("mkdir -m 700 ${store%/*}/copy && cp ${store%.db}.* ${store%/*}/copy/", &world.store());
    let copy = world.file("copy/keys.db");
    world.run(&["--store", copy.to_str().unwrap(), "disable", &id, "--yes"]);
    let server = world.serve(&[]);
    sees_it_usable(&server, &key);
    run("cat ${store%/*}/copy/keys.db > $store", &world.store());
    denies_or_cannot_tell(&server, &key, 401, "copied over");
    let log = server.stop();
    assert_eq!(log.matches("was written by something other than SQLite").count(), 1, "{log}");
}

/// Whether a test can mount something, in a name space of its own.
#[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
fn can_mount() -> bool {
    let tried = std::process::Command::new("unshare").args(["-m", "true"]).output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        eprintln!("skipped: mounting takes root, and unshare");
    }
    can
}

#[test]
fn a_database_that_is_mounted_on_its_own_is_not_used() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let (id, key) = world.key();
    let elsewhere = |arguments: &str| {
        let script = format!(
            "mkdir -p -m 700 $HOME/other && touch $HOME/other/keys.db && cp $HOME/keys.storekey $HOME/other/ &&
             mount --bind $PDKEYS_STORE $HOME/other/keys.db && $pdkeys --store $HOME/other/keys.db {arguments}"
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "/bin/sh", "-c", &script]).env("HOME", world.file("."));
        command.env("PDKEYS_STORE", world.store()).env("pdkeys", world.command(&[]).get_program());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in
        [format!("disable {id} --yes"), "list".to_owned(), "serve --listen 127.0.0.1:0".to_owned()]
    {
        let (code, said) = elsewhere(&arguments);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is mounted on its own"), "{said}");
    }
    // The same under a server that runs.
    let mut command = std::process::Command::new("unshare");
    let script =
        "(sleep 2; mount --bind $PDKEYS_STORE $PDKEYS_STORE) & exec $pdkeys serve --listen 127.0.0.1:0";
    command.args(["-m", "/bin/sh", "-c", script]).env("HOME", world.file("."));
    command.env("PDKEYS_STORE", world.store()).env("pdkeys", world.command(&[]).get_program());
    let server = Server::start(command, 1);
    sees_it_usable(&server, &key);
    server.wait_until("it is noticed", |server| is_unusable(server, &key));
    assert_eq!(server.stop().matches("is mounted on its own").count(), 1);
}

/// What an operator is told of counts.
fn counts(server: &Server) -> (bool, u64) {
    let metrics = server.get("/metrics").body;
    let losses = metrics.lines().find_map(|line| line.strip_prefix("pdkeys_usage_file_losses_total "));
    (server.get("/readyz").json()["counts"] == true, losses.unwrap().parse().unwrap())
}

#[test]
fn a_usage_file_that_is_gone_is_told_and_made_anew_and_stops_nothing() {
    for script in [
        "rm ${store%.db}.usage.db",
        "rm ${store%.db}.usage.db*",
        "rm ${store%.db}.usage.db-shm",
        "rm ${store%.db}.usage.db-wal",
        "mv ${store%.db}.usage.db ${store%/*}/elsewhere",
    ] {
        let world = World::new();
        let (id, key) = world.key();
        let server = world.serve(&[]);
        sees_it_usable(&server, &key);
        server.wait_until("the usage file is made", |_| world.file("keys.usage.db-wal").exists());
        run(script, &world.store());
        server.wait_until("it is noticed", |server| counts(server) == (false, 1));
        assert_eq!(server.auth(&key, "GET", "/incidents").status, 200, "{script}");
        server.wait_until("it is made anew", |server| counts(server) == (true, 1));
        // One check of another process, which makes the file if it is faster.
        let mut check = world.command(&["verify", "--method", "GET", "--path", "/incidents"]);
        assert!(check.env("PDKEYS_KEY", &key).output().unwrap().status.success(), "{script}");
        for arguments in [&["list"][..], &["show", &id], &["usage", &id], &["rotate", &id, "--yes"]] {
            world.run(arguments);
        }
        world.run(&["disable", &id, "--yes"]);
        assert_eq!(server.auth(&key, "GET", "/incidents").status, 401, "{script}");
        let log = server.stop();
        assert_eq!(log.matches("counts cannot be written").count(), 1, "{script}: {log}");
        assert_eq!(log.matches("counts can be written again").count(), 1, "{script}: {log}");
        assert!(!log.contains("the store cannot be used"), "{script}: {log}");
    }
}

#[test]
fn a_usage_file_that_is_gone_before_the_server_looks_stops_nothing() {
    let world = World::new();
    let (id, key) = world.key();
    let server = world.serve(&[]);
    sees_it_usable(&server, &key);
    server.wait_until("the usage file is made", |_| world.file("keys.usage.db-wal").exists());
    for _ in 0..3 {
        run("rm -f ${store%.db}.usage.db", &world.store());
        let mut check = world.command(&["verify", "--method", "GET", "--path", "/incidents"]);
        let checked = check.env("PDKEYS_KEY", &key).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        world.run(&["list"]);
        world.run(&["disable", &id, "--yes"]);
        world.run(&["enable", &id]);
        assert_eq!(server.auth(&key, "GET", "/incidents").status, 200);
    }
    server.wait_until("it is made anew", |server| counts(server).0);
    server.stop();
}

#[test]
fn a_usage_file_that_cannot_be_used_stops_no_check_and_is_told() {
    for (script, told) in [
        ("rm ${store%.db}.usage.db* && mkdir ${store%.db}.usage.db", "not a file"),
        ("rm ${store%.db}.usage.db* && echo no database > ${store%.db}.usage.db", "not a"),
        ("cat ${store%.db}.storekey > ${store%.db}.usage.db", ""),
        ("chmod 0666 ${store%.db}.usage.db; rm ${store%.db}.usage.db-shm", "can be written by others"),
    ] {
        let world = World::new();
        let (id, key) = world.key();
        let server = world.serve(&[]);
        sees_it_usable(&server, &key);
        server.wait_until("the usage file is made", |_| world.file("keys.usage.db-wal").exists());
        run(script, &world.store());
        server.wait_until(script, |server| server.get("/readyz").json()["counts"] == false);
        std::thread::sleep(Duration::from_millis(2_500));
        assert_eq!(server.get("/readyz").json()["counts"], false, "{script}");
        assert_eq!(server.auth(&key, "GET", "/incidents").status, 200, "{script}");
        for arguments in [&["list"][..], &["disable", &id, "--yes"]] {
            world.run(arguments);
        }
        assert_eq!(server.auth(&key, "GET", "/incidents").status, 401, "{script}");
        let doctor = world.command(&["doctor"]).output().unwrap();
        let (code, said) = (doctor.status.code(), String::from_utf8(doctor.stdout).unwrap());
        assert!(code == Some(3) && said.contains(told), "{script}: {code:?} {said}");
        drop(server);
    }
}

#[test]
fn on_a_read_only_mount_what_others_change_holds_at_once() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let (id, key) = world.key();
    let script = "mount --bind $HOME $HOME && mount -o remount,bind,ro $HOME && exec $pdkeys serve --listen 127.0.0.1:0";
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "/bin/sh", "-c", script]).env("HOME", world.store().parent().unwrap());
    command.env("PDKEYS_STORE", world.store()).env("pdkeys", world.command(&[]).get_program());
    let server = Server::start(command, 1);
    // It is not ready, since it cannot count; it answers all the same.
    let allows = |server: &Server| server.auth(&key, "GET", "/incidents").status == 200;
    server.wait_until("it can be used", allows);
    for _ in 0..3 {
        world.run(&["disable", &id, "--yes"]);
        denies_or_cannot_tell(&server, &key, 401, "disabled");
        world.run(&["enable", &id]);
        server.wait_until("it can be used again", allows);
    }
    assert!(server.log().contains("counts cannot be written"), "{}", server.log());
}

#[test]
fn a_link_that_leads_to_another_store_is_followed() {
    let world = World::new();
    let (_, key) = world.key();
    let link = world.file("current.db");
    std::os::unix::fs::symlink("keys.db", &link).unwrap();
    let other = world.file("other.db");
    world.run(&["--store", other.to_str().unwrap(), "init", "other", "--owner", "ann"]);
    let mut command = world.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("PDKEYS_STORE", &link);
    let server = Server::start(command, 1);
    sees_it_usable(&server, &key);
    std::os::unix::fs::symlink("other.db", world.file("next.db")).unwrap();
    fs::rename(world.file("next.db"), &link).unwrap();
    // Within a second, and with the key that belongs to it.
    server.wait_until("it is noticed", |server| server.auth(&key, "GET", "/incidents").status == 401);
    std::os::unix::fs::symlink("keys.db", world.file("next.db")).unwrap();
    fs::rename(world.file("next.db"), &link).unwrap();
    server.wait_until("it is back", |server| is_usable(server, &key));
}
