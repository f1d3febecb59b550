//! That a change is seen by the very next check, whatever becomes of the files of the store meanwhile, and that whoever
//! checks is in nobody's way.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pdkeys::model::{Access, Secret};
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::store::{Presence, Store as _};
use pdkeys::verify::{Counting, Reason, Verifier};
use rusqlite::Connection;

use crate::world::{Made, World, rest};

/// A verifier over connections for keys from all over the store.
fn for_many_keys(world: &World, counting: Counting) -> Verifier<SqliteStore> {
    let place = world.place();
    let open = move || SqliteStore::open(&place)?.for_many_keys();
    Verifier::new(open().unwrap(), open, counting, world.clock.clone()).unwrap()
}

fn set_disabled(world: &World, key: &Made, disabled: bool) {
    let ids = std::slice::from_ref(&key.id);
    world.act(|session| {
        if disabled { session.disable_keys(ids, None).map(drop) } else { session.enable_keys(ids).map(drop) }
    });
}

#[test]
fn a_change_is_seen_at_once_whatever_becomes_of_the_log() {
    let world = World::new();
    let [key, other] = [(); 2].map(|()| world.key(Access::Full, None));
    let verifiers = [
        world.verifier(Counting::InMemory),
        world.verifier(Counting::Nowhere),
        for_many_keys(&world, Counting::InMemory),
        for_many_keys(&world, Counting::Nowhere),
    ];
    let reasons = |made: &Made| {
        let reason = |verifier: &Verifier<_>| {
            verifier.verify(&rest(&made.secret, "GET", "/incidents")).unwrap().reason
        };
        verifiers.each_ref().map(reason)
    };
    let sql = |sql: &str| {
        let connection = Connection::open(world.place().database()).unwrap();
        connection.busy_timeout(Duration::ZERO).unwrap();
        // Somebody may be reading: then as much is done as can be.
        let _ = connection.execute_batch(sql);
    };
    let between: [&dyn Fn(); 8] = [
        &|| {},
        &|| sql("PRAGMA wal_checkpoint(PASSIVE)"),
        &|| sql("PRAGMA wal_checkpoint(RESTART)"),
        &|| sql("PRAGMA wal_checkpoint(TRUNCATE)"),
        &|| sql("VACUUM"),
        &|| drop(world.store()),
        &|| drop(world.store().for_many_keys()),
        &|| assert_eq!(reasons(&other), [Reason::Allowed; 4]),
    ];
    for round in 0..8 * between.len() {
        let disabled = round % 2 == 0;
        between[round % between.len()]();
        set_disabled(&world, &key, disabled);
        between[round / between.len()]();
        let expected = if disabled { Reason::Disabled } else { Reason::Allowed };
        assert_eq!(reasons(&key), [expected; 4], "round {round}");
    }
}

/// Closing a file lets go of all the locks that a process has on it, and SQLite removes what the last one to close
/// leaves behind: whoever opens meanwhile must not be left with files that are gone.
#[test]
fn a_change_is_seen_at_once_however_many_open_and_close_the_store_meanwhile() {
    let world = World::new();
    let key = world.key(Access::Full, None);
    let ask = rest(&key.secret, "GET", "/incidents");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    world.verifier(Counting::InStore).verify(&ask).unwrap();
                }
            });
        }
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // Whatever it is allowed to, another process has opened and closed the store.
                let mut other = Command::new(env!("CARGO_BIN_EXE_pdkeys"));
                other.arg("--store").arg(world.place().database()).arg("whoami");
                other.output().unwrap();
            }
        });
        let stale = (0..150).find(|round| {
            let disabled = round % 2 == 0;
            let place = world.place();
            let mut store = SqliteStore::open(&place).unwrap();
            let digest =
                store.keyring().unwrap().digest(&Secret::presented(key.secret.clone()).fingerprint());
            let mut is_disabled = || match store.find_credential(&digest).unwrap().presence {
                Presence::Known(credential) => credential.disabled,
                _ => !disabled,
            };
            let before = is_disabled();
            set_disabled(&world, &key, disabled);
            before == disabled || is_disabled() != disabled
        });
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(stale, None);
    });
}

#[test]
fn one_that_reads_on_lets_the_log_begin_anew() {
    let world = World::new();
    let key = world.key(Access::Full, None);
    let verifier = for_many_keys(&world, Counting::InMemory);
    let writer = Connection::open(world.place().database()).unwrap();
    writer.pragma_update(None, "synchronous", "OFF").unwrap();
    writer.execute_batch("CREATE TABLE ballast (content BLOB)").unwrap();
    let mut written = 0;
    for _ in 0..400 {
        verifier.verify(&rest(&key.secret, "GET", "/incidents")).unwrap();
        written += 100_000;
        writer.execute("INSERT INTO ballast VALUES (zeroblob(100000))", []).unwrap();
    }
    let log = fs::metadata(world.place().database().with_extension("db-wal")).unwrap().len();
    // A thousand pages of 4 KiB and a change: SQLite begins anew with the change after that.
    assert!(log < 6 << 20, "{log} bytes of log after {written} were written");
}

#[test]
fn one_that_pauses_is_in_nobodys_way() {
    let world = World::new();
    let key = world.key(Access::Full, None);
    for (counting, disabled) in [(Counting::InMemory, true), (Counting::Nowhere, false)] {
        let verifier = for_many_keys(&world, counting);
        // Now there is something in the log, from which the verifier reads on.
        set_disabled(&world, &key, disabled);
        verifier.verify(&rest(&key.secret, "GET", "/incidents")).unwrap();
        let other = Connection::open(world.place().database()).unwrap();
        let began = Instant::now();
        loop {
            let is_busy: bool =
                other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
            if !is_busy {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "it goes on reading");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn checks_that_are_made_one_by_one_leave_a_short_log_behind() {
    let world = World::new();
    let key = world.key(Access::Full, None);
    let log = world.place().usage().with_extension("db-wal");
    let mut sizes = Vec::new();
    for _ in 0..200 {
        world.check(&rest(&key.secret, "GET", "/incidents"));
        sizes.push(fs::metadata(&log).map_or(0, |log| log.len()));
    }
    assert!(sizes.iter().all(|size| *size < 500_000), "{sizes:?}");
    assert!(sizes.iter().filter(|size| **size > 0).count() > 150, "most leave it: {sizes:?}");
}
