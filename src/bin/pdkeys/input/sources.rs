//! Opens the files that `scan` searches.
//!
//! Only regular files are opened, without blocking on a pipe that has replaced one. Holes of sparse files are skipped.
//! Archives and compressed files are not unpacked.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, SeekFrom};

/// The first bytes of compressed files and archives.
const ARCHIVES: [&[u8]; 8] = [
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"\xfd7zXZ\0",
    b"BZh",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
    b"\x04\x22\x4d\x18",
];
/// The size of the blocks in which the operating system counts the size of a file.
const BLOCK: u64 = 512;

/// The identity of a file, whatever its name: device and inode number.
pub(crate) type Identity = (u64, u64);

/// Returns the identity of a file, following links.
pub(crate) fn identify(path: &Path) -> io::Result<Identity> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// The files of the store, which must not be opened under any name: closing one would release the locks that this process
/// holds on it.
pub(crate) struct SkipSet(BTreeSet<Identity>);

impl SkipSet {
    /// Makes the set of these files, as far as they exist.
    pub(crate) fn new(paths: &[PathBuf]) -> Self {
        Self(paths.iter().filter_map(|path| identify(path).ok()).collect())
    }
}

/// A file that was opened to be scanned.
pub(crate) enum Opened {
    /// Its content.
    Content(Box<dyn Read>),
    /// It is an archive, or compressed.
    Archive,
    /// It is a pipe, a device or the like.
    NoFile,
    /// It is a file of the store, and was not opened.
    SkipSet,
}

/// Opens a path if it is a regular file, without blocking on a pipe.
fn open_file(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Opens a file to be scanned.
pub(crate) fn open(path: &Path, identity: Identity, skip: &SkipSet) -> io::Result<Opened> {
    if skip.0.contains(&identity) {
        return Ok(Opened::SkipSet);
    }
    let Some(file) = open_file(path)? else { return Ok(Opened::NoFile) };
    let metadata = file.metadata()?;
    let mut head = [0; 8];
    let length = file.read_at(&mut head, 0)?;
    if ARCHIVES.iter().any(|magic| head[..length].starts_with(magic)) {
        return Ok(Opened::Archive);
    }
    if metadata.blocks() * BLOCK < metadata.len() {
        return Ok(Opened::Content(Box::new(Dense { file, at: 0, data_ends: 0 })));
    }
    Ok(Opened::Content(Box::new(file)))
}

/// Reads a sparse file, with a single zero in place of each hole.
struct Dense {
    file: File,
    at: u64,
    data_ends: u64,
}

impl Read for Dense {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.data_ends {
            let data = match rustix::fs::seek(&self.file, SeekFrom::Data(self.at)) {
                Ok(data) => data,
                // The rest of the file is a hole.
                Err(rustix::io::Errno::NXIO) => return Ok(0),
                Err(error) => return Err(error.into()),
            };
            self.data_ends = rustix::fs::seek(&self.file, SeekFrom::Hole(data))?;
            if data > self.at
                && let Some(first) = out.first_mut()
            {
                self.at = data;
                *first = 0;
                return Ok(1);
            }
        }
        let left = usize::try_from(self.data_ends - self.at).unwrap_or(usize::MAX).min(out.len());
        let count = self.file.read_at(&mut out[..left], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
