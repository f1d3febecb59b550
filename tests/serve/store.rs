//! The store, while a server runs over it: deleted, replaced, locked, unreadable, and back again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

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
    server.wait_until("the usage file is made", |_| world.file("keys.usage.db").exists());
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
