//! That a change is seen by the very next check, whatever becomes of the files of the store meanwhile, and that whoever
//! checks is in nobody's way.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pdkeys::model::{Access, Secret};
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::store::{LookupResult, Store as _};
use pdkeys::verify::{Reason, UsageRecording, Verifier};
use rusqlite::Connection;

use crate::displacements::{Way, each, run};
use crate::world::{Made, World, rest};

/// A verifier over connections for keys from all over the store.
fn for_many_keys(world: &World, counting: UsageRecording) -> Verifier<SqliteStore> {
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
        world.verifier(UsageRecording::InMemory),
        world.verifier(UsageRecording::Nowhere),
        for_many_keys(&world, UsageRecording::InMemory),
        for_many_keys(&world, UsageRecording::Nowhere),
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
                    world.verifier(UsageRecording::InStore).verify(&ask).unwrap();
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
            let mut is_disabled = || match store.find_credential(&digest).unwrap().result {
                LookupResult::Known(credential) => credential.disabled,
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
    let verifier = for_many_keys(&world, UsageRecording::InMemory);
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
    for (counting, disabled) in [(UsageRecording::InMemory, true), (UsageRecording::Nowhere, false)] {
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

/// Long enough for a look at the files, which is made once a second.
const LOOKED: Duration = Duration::from_millis(1_500);
/// Long enough for everything that has the store open to look, and to close it.
const CLOSED: Duration = Duration::from_secs(5);

/// Verifiers of every kind over one store.
fn verifiers(world: &World) -> [Verifier<SqliteStore>; 4] {
    [
        world.verifier(UsageRecording::InMemory),
        world.verifier(UsageRecording::Nowhere),
        for_many_keys(world, UsageRecording::InMemory),
        for_many_keys(world, UsageRecording::Nowhere),
    ]
}

/// Asks verifiers about a key that was disabled until each has said so, or no more is to be expected. None may allow it
/// once it has looked at the files; errors may come between.
fn ask_until_disabled(verifiers: &[Verifier<SqliteStore>], key: &Made, ends: bool, what: &str) {
    let began = Instant::now();
    loop {
        let mut disabled = 0;
        for verifier in verifiers {
            match verifier.verify(&rest(&key.secret, "GET", "/incidents")) {
                Ok(verdict) if verdict.is_allowed() => assert!(began.elapsed() < LOOKED, "{what}"),
                Ok(verdict) => {
                    assert_eq!(verdict.reason, Reason::Disabled, "{what}");
                    disabled += 1;
                }
                Err(_) => {}
            }
        }
        if ends && disabled == verifiers.len() {
            return;
        }
        if began.elapsed() > CLOSED {
            assert!(!ends, "{what}: {disabled} of them know");
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn files_that_others_do_not_find_allow_nothing_until_the_store_is_opened_anew() {
    let displaced = |way: &Way| {
        let world = World::new();
        let key = world.key(Access::Full, None);
        let verifiers = verifiers(&world);
        for verifier in &verifiers {
            assert!(verifier.verify(&rest(&key.secret, "GET", "/incidents")).unwrap().is_allowed());
        }
        way.happen(world.place().database());
        let disabled = world.run(&["disable", &key.id, "--yes"]);
        assert_eq!(disabled.status.success(), way.can_be_opened, "{}: {disabled:?}", way.what);
        ask_until_disabled(&verifiers, &key, way.can_be_opened, way.what);
    };
    each(displaced);
}

#[test]
fn files_that_others_do_not_find_are_told_whether_or_not_anything_changed() {
    let displaced = |way: &Way| {
        let world = World::new();
        let key = world.key(Access::Full, None);
        let verifier = world.verifier(UsageRecording::InMemory);
        let ask = || verifier.verify(&rest(&key.secret, "GET", "/incidents"));
        assert!(ask().unwrap().is_allowed());
        let mut store = world.store();
        let digest = store.keyring().unwrap().digest(&Secret::presented(key.secret.clone()).fingerprint());
        store.find_credential(&digest).unwrap();
        way.happen(world.place().database());
        thread::sleep(LOOKED);
        for _ in 0..2 {
            let told = store.find_credential(&digest).unwrap_err().to_string();
            assert!(told.contains(way.told), "{}: {told}", way.what);
        }
        drop(store);
        let began = Instant::now();
        while ask().is_ok() != way.can_be_opened {
            assert!(began.elapsed() < CLOSED, "{}", way.what);
            thread::sleep(Duration::from_millis(10));
        }
    };
    each(displaced);
}

/// A copy of the store, in a directory of its own, in which a key is disabled.
fn copy_with_disabled(world: &World, key: &Made) {
    let store = world.place().database().to_owned();
    run("mkdir -m 700 ${store%/*}/copy && cp ${store%.db}.* ${store%/*}/copy/", &store);
    let copy = store.with_file_name("copy").join(store.file_name().unwrap());
    let disabled = world.run(&["--store", copy.to_str().unwrap(), "disable", &key.id, "--yes"]);
    assert!(disabled.status.success(), "{disabled:?}");
}

#[test]
fn a_store_that_is_copied_over_in_place_allows_nothing_that_was_read_before() {
    for script in ["cat ${store%/*}/copy/*.db > $store", "cp -p ${store%/*}/copy/*.db $store"] {
        let world = World::new();
        let key = world.key(Access::Full, None);
        copy_with_disabled(&world, &key);
        let verifiers = verifiers(&world);
        for verifier in &verifiers {
            assert!(verifier.verify(&rest(&key.secret, "GET", "/incidents")).unwrap().is_allowed());
        }
        run(script, world.place().database());
        ask_until_disabled(&verifiers, &key, true, script);
    }
}

#[test]
fn an_index_that_is_as_it_was_before_does_not_say_that_nothing_changed() {
    let world = World::new();
    let key = world.key(Access::Full, None);
    let verifiers = verifiers(&world);
    for verifier in &verifiers {
        assert!(verifier.verify(&rest(&key.secret, "GET", "/incidents")).unwrap().is_allowed());
    }
    run("cp $store-shm $store.saved", world.place().database());
    assert!(world.run(&["disable", &key.id, "--yes"]).status.success());
    // Those that read on let go of the log when they pause.
    thread::sleep(Duration::from_millis(1_200));
    let other = Connection::open(world.place().database()).unwrap();
    let is_busy: bool = other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert!(!is_busy);
    run("dd if=$store.saved of=$store-shm bs=136 count=1 conv=notrunc 2>/dev/null", world.place().database());
    drop(other);
    ask_until_disabled(&verifiers, &key, true, "an index as before");
}

/// What SQLite itself writes to the database is no displacement, however often and whoever does it.
#[test]
fn a_log_that_is_written_back_holds_up_no_check() {
    let world = World::new();
    let key = world.key(Access::Full, None);
    let verifiers = verifiers(&world);
    let until = Instant::now() + Duration::from_secs(6);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut disabled = false;
            while !is_over.load(Ordering::Relaxed) {
                disabled = !disabled;
                let verb = if disabled { "disable" } else { "enable" };
                let ran = world.run(&[verb, &key.id, "--yes"]);
                assert!(ran.status.success(), "{ran:?}");
            }
        });
        scope.spawn(|| {
            let other = Connection::open(world.place().database()).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                for how in ["PASSIVE", "RESTART", "TRUNCATE"] {
                    let _ = other.execute_batch(&format!("PRAGMA wal_checkpoint({how})"));
                    thread::sleep(Duration::from_millis(7));
                }
            }
        });
        let mut failed = None;
        while Instant::now() < until && failed.is_none() {
            let request = rest(&key.secret, "GET", "/incidents");
            failed = verifiers.iter().find_map(|verifier| verifier.verify(&request).err());
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(failed.is_none(), "{failed:?}");
    });
}
