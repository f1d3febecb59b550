//! Hands a new secret over, to standard output or to a new file, before it is committed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use pdkeys::model::{Secret, escape};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::paths::STREAM;
use crate::session::Context;

/// Longer than any secret with its record, so that the buffer is not moved and leaves no copy behind.
const ROOM: usize = 16 * 1024;

/// Where a new secret goes: standard output, or a file that is made for it. A file is taken away again unless the
/// secret turns out to be worth keeping.
pub(crate) struct SecretSink<'c> {
    context: &'c Context,
    file: Option<PathBuf>,
    made: Option<PathBuf>,
}

impl<'c> SecretSink<'c> {
    pub(crate) fn new(context: &'c Context, file: Option<PathBuf>) -> Self {
        Self { context, file: file.filter(|file| file.as_os_str() != STREAM), made: None }
    }

    /// Refuses what can be refused before there is a secret, and before a store is opened or made.
    pub(crate) fn ready(&self) -> Result<(), Failure> {
        if self.context.globals.output == Format::Csv {
            return Err(Failure::usage("a secret is not printed as csv")
                .with_hint("without -o it is printed alone; -o json prints it with its record"));
        }
        match &self.file {
            // A link is something too, wherever it leads.
            Some(path) if self.is_stores_own(path)? => Err(Failure::failed(stores_own(path))
                .with_hint("--write-to makes a new file; choose another name, or another directory")),
            Some(path) if fs::symlink_metadata(path).is_ok() => Err(Failure::failed(there_already(path))
                .with_hint("--write-to makes a new file and overwrites none; choose another name")),
            _ => Ok(()),
        }
    }

    /// Whether a file of the name would be taken for one of the store.
    fn is_stores_own(&self, path: &Path) -> Result<bool, Failure> {
        Ok(self.context.place()?.0.owns(path))
    }

    /// Takes a secret: alone on its line, or in front of its record if a format was asked for.
    pub(crate) fn take(&mut self, secret: &Secret, record: &impl Serialize) -> io::Result<()> {
        if let Some(path) = self.file.clone() {
            // Asked again, since the store may have been made only now.
            if self.is_stores_own(&path).unwrap_or(true) {
                return Err(io::Error::other(stores_own(&path)));
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(|error| {
                    let why = match error.kind() {
                        io::ErrorKind::AlreadyExists => there_already(&path),
                        _ => format!("{}: {error}", path.display()),
                    };
                    io::Error::new(error.kind(), why)
                })?;
            self.made = Some(path);
            file.write_all(&alone(secret)?)?;
            file.sync_all()?;
            return self.hand_over_record(record);
        }
        match self.context.globals.output {
            Format::Table => self.context.terminal.hand_over(&alone(secret)?),
            Format::Json | Format::Jsonl => self.context.terminal.hand_over(&with_record(secret, record)?),
            Format::Csv => Err(io::Error::other("a secret is not printed as csv")),
            Format::Sarif => Err(io::Error::other("a secret is not printed as SARIF")),
        }
    }

    fn hand_over_record(&self, record: &impl Serialize) -> io::Result<()> {
        match self.context.globals.output {
            Format::Json | Format::Jsonl => {
                let mut bytes = output::json_bytes(record)?;
                bytes.push(b'\n');
                self.context.terminal.hand_over(&bytes)
            }
            Format::Table | Format::Csv | Format::Sarif => Ok(()),
        }
    }

    /// The secret is committed: what was made for it stays. Says where it is, if in a file.
    pub(crate) fn keep(mut self) -> Option<String> {
        self.made.take().map(|path| format!("its secret is in {}", escape(&path.display().to_string())))
    }
}

impl Drop for SecretSink<'_> {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            // What it holds is void, and the error that led here is already being told.
            let _ = fs::remove_file(path);
        }
    }
}

fn there_already(path: &Path) -> String {
    format!("{} is there already", path.display())
}

fn stores_own(path: &Path) -> String {
    format!("{} is a name that a store has for its own files", path.display())
}

fn alone(secret: &Secret) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(ROOM));
    secret.write_to(&mut *line)?;
    line.push(b'\n');
    Ok(line)
}

/// The record's object with the secret after its id. A secret's alphabet needs no escaping in JSON.
fn with_record(secret: &Secret, record: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let object = output::json_bytes(record)?;
    let after_id = object
        .iter()
        .position(|byte| *byte == b',')
        .ok_or_else(|| io::Error::other("a record begins with its id"))?;
    let mut line = Zeroizing::new(Vec::with_capacity(ROOM));
    line.extend_from_slice(&object[..after_id]);
    line.extend_from_slice(b",\"secret\":\"");
    secret.write_to(&mut *line)?;
    line.push(b'"');
    line.extend_from_slice(&object[after_id..]);
    line.push(b'\n');
    Ok(line)
}
