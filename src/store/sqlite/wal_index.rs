//! The index of the write-ahead log: detects commits of other processes with one system call.
//!
//! `PRAGMA data_version` detects them too, but begins and ends a read transaction. That takes two locks, costs more
//! than a lookup, and about four times as much as reading the header (measured side by side). What the pragma compares
//! is the header of the log's index, a file that all connections to the store share and that every commit changes
//! ([format](https://www.sqlite.org/walformat.html)). As long as the bytes of the header are the same, nothing was
//! committed. Nothing else is ever concluded from them; all content is read by SQLite.
//!
//! Both methods compare the same 48 bytes with an earlier state. Neither detects that other processes use another
//! index, nor that the bytes changed and changed back. Therefore [`FileState`] examines the files themselves once a
//! second. The index must be the one beside the database ([`Watch`]). If the database was written although no log was
//! written back, a program other than SQLite wrote to it, and the connection becomes unusable. If database or log were
//! written at all, everything is read again, whatever the index says.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::watch::{Stamps, Watch};
use crate::error::{Displacement, ErrorKind, Refusal, Result};

/// Whether reading a file returns what another process wrote to its memory mapping. On other systems every lookup
/// begins a new read transaction.
const IS_TRUSTED: bool = cfg!(any(target_os = "linux", target_os = "macos", target_os = "freebsd"));
/// The length of the header in bytes. It is stored twice, and the copies differ while it is being written.
const HEADER_LEN: usize = 2 * 48;
/// The offset of the number of pages in the log (`mxFrame`).
const PAGES_AT: usize = 16;
/// The offset of the number of pages that were written back to the database (`nBackfill`).
const WRITTEN_BACK_AT: usize = 96;
/// The offset of the number of pages that may have been written back (`nBackfillAttempted`).
const ATTEMPTED_AT: usize = 128;

/// The header as it was at some point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header([u8; HEADER_LEN]);

impl Header {
    /// Reads the header, or returns `None` if it cannot be read.
    pub(super) fn now(watch: &Watch) -> Option<Self> {
        let mut header = [0; HEADER_LEN];
        file(watch)?.read_exact_at(&mut header, 0).ok()?;
        Some(Self(header))
    }

    /// Returns the number of pages in the log.
    pub(super) fn pages(&self) -> u32 {
        number(&self.0, PAGES_AT)
    }
}

fn file(watch: &Watch) -> Option<&File> {
    watch.index().filter(|_| IS_TRUSTED)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(u32::MAX, |bytes| u32::from_ne_bytes(*bytes))
}

/// The progress of the log: what was committed, and how much of it was written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    header: Header,
    written_back: u32,
    attempted: u32,
}

impl Progress {
    fn now(watch: &Watch) -> Option<Self> {
        let mut bytes = [0; ATTEMPTED_AT + 4];
        file(watch)?.read_exact_at(&mut bytes, 0).ok()?;
        let header = Header(*bytes.first_chunk()?);
        Some(Self {
            header,
            written_back: number(&bytes, WRITTEN_BACK_AT),
            attempted: number(&bytes, ATTEMPTED_AT),
        })
    }

    /// Returns true if pages are being written back, or were when a process was killed.
    fn is_writing_back(&self) -> bool {
        self.attempted != self.written_back
    }
}

/// The state of the files of a store at one point in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileState {
    /// The progress of the log, read before the files were examined.
    progress: Option<Progress>,
    stamps: Stamps,
    /// Whether another program than SQLite wrote to the database. Once set, it stays set.
    is_overwritten: bool,
}

impl FileState {
    /// Examines the files.
    ///
    /// # Errors
    /// If they are not the ones found under their names.
    pub(super) fn now(watch: &Watch) -> Result<Self> {
        let progress = Progress::now(watch);
        Ok(Self { progress, stamps: watch.look()?, is_overwritten: false })
    }

    /// Examines the files again, and returns true if they were written to in the meantime.
    ///
    /// A process that writes the log back updates the index before it writes to the database and again afterwards. A
    /// write to the database without such an update was not made by SQLite.
    ///
    /// # Errors
    /// If the files are not the ones found under their names, or another program wrote to the database.
    pub(super) fn look_again(&mut self, watch: &Watch) -> Result<bool> {
        let seen = Self::now(watch)?;
        let is_written = !seen.stamps.database.is_written_as(&self.stamps.database);
        let nothing_written_back = || match (self.progress, Progress::now(watch)) {
            (Some(then), Some(now)) => then == now && !now.is_writing_back(),
            _ => false,
        };
        self.is_overwritten |= is_written && nothing_written_back();
        if self.is_overwritten {
            let (path, how) = (watch.path().to_owned(), Displacement::Overwritten);
            return Err(ErrorKind::StoreRefused { path, refusal: Refusal::Displaced(how) }.into());
        }
        let is_touched = seen.stamps != self.stamps;
        *self = seen;
        Ok(is_touched)
    }
}
