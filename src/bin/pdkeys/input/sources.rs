//! Opens the files that `scan` looks through.
//!
//! A file is opened only if it is one, and so that nothing waits for a pipe that took its place meanwhile; the holes
//! of a sparse file are passed over; archives and what is compressed are not unpacked.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, SeekFrom};

/// How compressed files and archives begin.
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
/// The size of a block in what the operating system says of a file.
const BLOCK: u64 = 512;

/// What a file is known by, whatever it is called: its device and number.
pub(crate) type Identity = (u64, u64);

/// Tells what a file is known by, through links.
pub(crate) fn identify(path: &Path) -> io::Result<Identity> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Files that are not to be opened: those of the store. Closing one would take away the locks that this process has on
/// it, whatever it is called.
pub(crate) struct Spared(BTreeSet<Identity>);

impl Spared {
    /// These files, as far as they are there.
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
    /// It is one of the store's own, and was not opened.
    Spared,
}

/// Opens a path if it is a file, so that nothing waits for a pipe.
fn open_file(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Opens a file to be scanned, which is known by `identity`.
pub(crate) fn open(path: &Path, identity: Identity, spared: &Spared) -> io::Result<Opened> {
    if spared.0.contains(&identity) {
        return Ok(Opened::Spared);
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

/// What a sparse file holds, with one zero in the place of each hole.
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
                // There is nothing but a hole up to the end.
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
