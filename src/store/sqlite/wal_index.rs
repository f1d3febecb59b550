//! The index of the write-ahead log: whether anything was committed, for one system call.
//!
//! SQLite tells by `PRAGMA data_version`, for which it begins to read and ends again: two locks and more, which cost
//! more than a look-up, and about four times what reading the header costs (measured side by side). What it looks at is the header of the log's index, a file that all who have the store open
//! share, and which every commit changes ([the format](https://www.sqlite.org/walformat.html)). So as long as its bytes
//! are the same, nothing was committed. Only that is ever concluded from them: what there is to be read, SQLite reads.
//!
//! That is a comparison with the past, and so is `data_version`: it compares the same 48 bytes. Neither knows whether the
//! index is the one that others use, nor whether bytes that are the same again have been others meanwhile. The files
//! themselves say that, and once a second they are asked ([`FileState`]): the index must be the one beside the database
//! ([`Watch`]); a database that was written although no log was written back was written past SQLite, and nothing that
//! was read of it counts any more; and where database or log were touched at all, everything is read anew, whatever the
//! index says.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::watch::{Stamps, Watch};
use crate::error::{Displacement, ErrorKind, Refusal, Result};

/// Where what one process writes to a mapped file is what another reads from it. Elsewhere every look-up begins anew.
const IS_TRUSTED: bool = cfg!(any(target_os = "linux", target_os = "macos", target_os = "freebsd"));
/// The header comes twice: whoever reads it while it is written sees two that differ.
const HEADER_LEN: usize = 2 * 48;
/// Where it says how many pages are in the log.
const PAGES_AT: usize = 16;
/// Where, behind the header, it says how many pages of the log have been written back to the database.
const WRITTEN_BACK_AT: usize = 96;
/// Where it says how many may have been.
const ATTEMPTED_AT: usize = 128;

/// The header as it was at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header([u8; HEADER_LEN]);

impl Header {
    /// The header at this moment, if it can be read.
    pub(super) fn now(watch: &Watch) -> Option<Self> {
        let mut header = [0; HEADER_LEN];
        file(watch)?.read_exact_at(&mut header, 0).ok()?;
        Some(Self(header))
    }

    /// How many pages were in the log.
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

/// How far the log has come: what was committed, and what of it was written back.
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

    /// Whether pages are being written back, or were when a process was killed.
    fn is_writing_back(&self) -> bool {
        self.attempted != self.written_back
    }
}

/// What the files of a store were like at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileState {
    /// From before the files were looked at.
    progress: Option<Progress>,
    stamps: Stamps,
    /// Whether the database was written past SQLite, after which nothing makes it good again.
    is_overwritten: bool,
}

impl FileState {
    /// Looks at the files.
    ///
    /// # Errors
    /// If they are not the ones that others find.
    pub(super) fn now(watch: &Watch) -> Result<Self> {
        let progress = Progress::now(watch);
        Ok(Self { progress, stamps: watch.look()?, is_overwritten: false })
    }

    /// Looks at the files again, and tells whether anything was written to them. A process that writes the log back
    /// says so in the index before it writes to the database, and again when it is done.
    ///
    /// # Errors
    /// If they are not the ones that others find, or the database was written by something else.
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
