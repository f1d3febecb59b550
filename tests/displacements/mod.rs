//! Ways in which the files that a process has open come to be others than those that everything else finds.

use std::path::Path;
use std::process::Command;
use std::thread;

/// One of them.
pub(crate) struct Way {
    /// What happens.
    pub(crate) what: &'static str,
    /// How, for a shell: `$store` is the database.
    script: &'static str,
    /// What is told of it.
    pub(crate) told: &'static str,
    /// Whether a store that is opened afterwards can be used.
    pub(crate) can_be_opened: bool,
}

const GONE: &str = "was removed or moved away while the store was in use";
const REPLACED: &str = "is not the file that is in use";
const LINKED: &str = "has 2 names (hard links)";

const WAYS: [Way; 10] = [
    Way { what: "index removed", script: "rm $store-shm", told: GONE, can_be_opened: true },
    Way { what: "log removed", script: "rm $store-wal", told: GONE, can_be_opened: true },
    Way { what: "both removed", script: "rm $store-wal $store-shm", told: GONE, can_be_opened: true },
    Way {
        what: "index made anew",
        script: "cp $store-shm $store.copy && mv $store.copy $store-shm",
        told: REPLACED,
        can_be_opened: true,
    },
    Way {
        what: "log made anew",
        script: "cp $store-wal $store.copy && mv $store.copy $store-wal",
        told: REPLACED,
        can_be_opened: true,
    },
    Way {
        what: "moved, and a link left",
        script: "mkdir -m 700 $store.d && mv $store $store.d/ && cp ${store%.db}.storekey $store.d/ &&
                 ln -s $store.d/${store##*/} $store",
        told: REPLACED,
        can_be_opened: true,
    },
    Way { what: "hard link", script: "ln $store $store.other", told: LINKED, can_be_opened: false },
    Way {
        what: "hard link of the index",
        script: "ln $store-shm $store.other",
        told: LINKED,
        can_be_opened: false,
    },
    Way {
        what: "hard link of the log",
        script: "ln $store-wal $store.other",
        told: LINKED,
        can_be_opened: false,
    },
    Way {
        what: "touched",
        script: "touch $store",
        told: "was written by something other than SQLite",
        can_be_opened: true,
    },
];

impl Way {
    pub(crate) fn happen(&self, store: &Path) {
        run(self.script, store);
    }
}

/// Tries all of them at the same time: most of each is waiting.
pub(crate) fn each(attempt: impl Fn(&Way) + Sync) {
    thread::scope(|scope| {
        for way in &WAYS {
            scope.spawn(|| attempt(way));
        }
    });
}

/// Runs a script in which `$store` is a database. It is another process: one that opens and closes a database by itself
/// lets go of the locks that it has on it.
pub(crate) fn run(script: &str, store: &Path) {
    let status = Command::new("/bin/sh").args(["-ec", script]).env("store", store).status().unwrap();
    assert!(status.success(), "{script}");
}
