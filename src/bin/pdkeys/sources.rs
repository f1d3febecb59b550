//! What `scan` looks through: files below a path, what git keeps, a pipe.
//!
//! A file is opened only if it is one, and so that nothing waits for a pipe that took its place meanwhile; the holes
//! of a sparse file are passed over; archives and what is compressed are not unpacked.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

/// Files that are not to be opened: those of the store. Closing one would take away the locks that this process has on
/// it, whatever it is called.
pub(crate) struct Spared(BTreeSet<(u64, u64)>);

impl Spared {
    /// These files, as far as they are there.
    pub(crate) fn new(paths: &[PathBuf]) -> Self {
        let present = paths.iter().filter_map(|path| fs::metadata(path).ok());
        Self(present.map(|file| (file.dev(), file.ino())).collect())
    }

    fn has(&self, path: &Path) -> io::Result<bool> {
        let file = fs::metadata(path)?;
        Ok(self.0.contains(&(file.dev(), file.ino())))
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

/// Opens a file to be scanned.
pub(crate) fn open(path: &Path, spared: &Spared) -> io::Result<Opened> {
    if spared.has(path)? {
        return Ok(Opened::Spared);
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Opened::NoFile);
    }
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

/// An object that git keeps.
pub(crate) struct Object {
    name: String,
    kind: String,
}

/// The objects that git keeps in the repository of a directory, whatever leads to them: history, index, stash, and what
/// was thrown away but is there still.
pub(crate) struct Repository {
    directory: PathBuf,
}

impl Repository {
    /// The repository that a path is in.
    pub(crate) fn of(path: &Path) -> Self {
        let directory = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        Self { directory: directory.to_owned() }
    }

    fn git(&self, arguments: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.directory).args(["--no-pager", "-c", "core.fsmonitor=false"]).args(arguments);
        // Of a repository that was cloned in part, only what is there.
        git.env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0");
        git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        git
    }

    /// Where git keeps it: the same for every path in it.
    pub(crate) fn git_directory(&self) -> Option<Vec<u8>> {
        let output = self.git(&["rev-parse", "--absolute-git-dir"]).output().ok()?;
        output.status.success().then_some(output.stdout)
    }

    /// Shows each object that is not a directory, once.
    pub(crate) fn each<E: From<io::Error>>(
        &self,
        mut visit: impl FnMut(Object, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let format = "--batch=%(objectname) %(objecttype) %(objectsize)";
        let mut git = self.git(&["cat-file", "--batch-all-objects", "--unordered", "--buffer", format]);
        let mut child = git.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other("git is not installed"),
            _ => error,
        })?;
        let done = read_objects(&mut child, &mut visit);
        if done.is_err() {
            // It would go on writing to nobody.
            let _ = child.kill();
        }
        let output = child.wait_with_output()?;
        done?;
        if output.status.success() { Ok(()) } else { Err(io::Error::other(complaint(&output.stderr)).into()) }
    }

    /// Where an object came into the history: the commit, and the path in it.
    pub(crate) fn place(&self, object: &Object) -> (Option<String>, String) {
        if object.kind != "blob" {
            return (Some(object.name.clone()), format!("({} message)", object.kind));
        }
        let find = format!("--find-object={}", object.name);
        let log = ["log", "--all", "--reflog", "-m", "-1", "--diff-filter=AMR", "--format=%H", "--name-only"];
        let mut git = self.git(&log);
        let output = git.args(["--no-textconv", "--no-ext-diff", &find]).output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let mut lines = text.lines().filter(|line| !line.is_empty());
        match (lines.next(), lines.next()) {
            (Some(commit), Some(path)) => (Some(commit.to_owned()), path.to_owned()),
            _ => (None, format!("(git object {})", object.name)),
        }
    }
}

fn read_objects<E: From<io::Error>>(
    child: &mut Child,
    visit: &mut impl FnMut(Object, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let Some(stdout) = child.stdout.take() else { return Ok(()) };
    let mut objects = BufReader::with_capacity(1 << 16, stdout);
    let mut header = String::new();
    loop {
        header.clear();
        if objects.read_line(&mut header)? == 0 {
            return Ok(());
        }
        let mut words = header.split_ascii_whitespace();
        let (Some(name), Some(kind), Some(Ok(size))) =
            (words.next(), words.next(), words.next().map(str::parse::<u64>))
        else {
            return Err(io::Error::other("git says something that is not understood").into());
        };
        let object = Object { name: name.to_owned(), kind: kind.to_owned() };
        let mut content = objects.by_ref().take(size);
        if kind != "tree" {
            visit(object, &mut content)?;
        }
        io::copy(&mut content, &mut io::sink())?;
        // The line end behind it.
        io::copy(&mut objects.by_ref().take(1), &mut io::sink())?;
    }
}

fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let first = text.lines().next().unwrap_or("git failed");
    first.strip_prefix("fatal: ").unwrap_or(first).to_owned()
}
