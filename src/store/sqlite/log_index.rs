//! The index of the write-ahead log: whether anybody has committed anything, for one system call.
//!
//! SQLite tells by `PRAGMA data_version`, for which it begins to read and ends again: two locks and more, which cost
//! more than a look-up. What it looks at is the header of the log's index, a file that all who have the store open
//! share, and which every commit changes ([the format](https://www.sqlite.org/walformat.html)). So as long as its bytes
//! are the same, nobody has committed anything. Only that is ever concluded from them: what there is to be read, SQLite
//! reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::files::{Identity, beside, itself};
use crate::store::Place;

/// Where what one process writes to a mapped file is what another reads from it. Elsewhere every look-up begins anew.
const IS_TRUSTED: bool = cfg!(any(target_os = "linux", target_os = "macos", target_os = "freebsd"));
/// The header comes twice: whoever reads it while it is written sees two that differ.
const HEADER_LEN: usize = 2 * 48;
/// Where it says how many pages are in the log.
const PAGES_AT: usize = 16;

/// The header as it was at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header([u8; HEADER_LEN]);

impl Header {
    /// How many pages were in the log.
    pub(super) fn pages(&self) -> u32 {
        let bytes = self.0[PAGES_AT..].first_chunk();
        bytes.map_or(u32::MAX, |bytes| u32::from_ne_bytes(*bytes))
    }
}

/// The indexes of the stores that this process has open.
///
/// One handle for all connections to a store, which is opened with the first that asks and closed with the last, as a
/// part of closing it: closing any handle of a file lets go of all the locks that the process has on it, those of the
/// connections that go on included. As long as one of them is open, so is the index that they share.
static OPEN: Mutex<BTreeMap<Identity, Arc<OnceLock<File>>>> = Mutex::new(BTreeMap::new());

fn open() -> MutexGuard<'static, BTreeMap<Identity, Arc<OnceLock<File>>>> {
    // A map is whole at every moment, whoever panicked.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The index of the log of a store that is open. It is there before the store's file is opened, and goes after it is
/// closed, in the turn of both ([`Connected`](super::connected::Connected)).
#[derive(Debug)]
pub(super) struct LogIndex {
    store: Identity,
    file: Arc<OnceLock<File>>,
}

impl LogIndex {
    /// The index of the store with this file.
    pub(super) fn of(store: Identity) -> Self {
        Self { store, file: Arc::clone(open().entry(store).or_default()) }
    }

    /// The header at this moment, if it can be read. Something must have been read from the store before: that is when
    /// SQLite makes the index.
    pub(super) fn header(&self, place: &Place) -> Option<Header> {
        if !IS_TRUSTED {
            return None;
        }
        let file = match self.file.get() {
            Some(file) => file,
            None => self.open(place)?,
        };
        let mut header = [0; HEADER_LEN];
        file.read_exact_at(&mut header, 0).ok()?;
        Some(Header(header))
    }

    fn open(&self, place: &Place) -> Option<&File> {
        // Nobody else opens it meanwhile: of two handles one would have to be closed.
        let _open = open();
        if self.file.get().is_none() {
            self.store.is_still_at(place.database()).ok()?;
            let file = File::open(beside(&itself(place.database()), "-shm")).ok()?;
            self.file.get_or_init(|| file);
        }
        self.file.get()
    }
}

impl Drop for LogIndex {
    fn drop(&mut self) {
        let mut open = open();
        let file = std::mem::take(&mut self.file);
        // One is this one's, the other is the map's.
        if Arc::strong_count(&file) == 2 {
            open.remove(&self.store);
        }
        // Closed before anybody can open the store again.
        drop(file);
    }
}
