//! Writes a new secret to standard output or to a new file, before the change that makes it is committed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use pdkeys::model::{Secret, escape};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output::{Format, json};
use crate::paths::STREAM;
use crate::session::Context;

/// Larger than any secret with its record: a buffer that grows would leave copies behind.
const ROOM: usize = 16 * 1024;

/// The destination of a new secret: standard output, or a new file. Dropping it removes the file, unless
/// [`SecretSink::keep`] was called.
pub(crate) struct SecretSink<'c> {
    context: &'c Context,
    file: Option<PathBuf>,
    made: Option<PathBuf>,
}

impl<'c> SecretSink<'c> {
    pub(crate) fn new(context: &'c Context, file: Option<PathBuf>) -> Self {
        Self { context, file: file.filter(|file| file.as_os_str() != STREAM), made: None }
    }

    /// Refuses destinations that cannot work, before a store is opened or made.
    pub(crate) fn ready(&self) -> Result<(), Failure> {
        if self.context.output == Format::Csv {
            return Err(Failure::usage("a secret is not printed as csv")
                .with_hint("without -o it is printed alone; -o json prints it with its record"));
        }
        match &self.file {
            // A link counts as existing, wherever it points.
            Some(path) if self.is_stores_own(path)? => Err(Failure::failed(stores_own(path))
                .with_hint("--write-to makes a new file; choose another name, or another directory")),
            Some(path) if fs::symlink_metadata(path).is_ok() => Err(Failure::failed(there_already(path))
                .with_hint("--write-to makes a new file and overwrites none; choose another name")),
            _ => Ok(()),
        }
    }

    /// Returns whether the name is reserved for the store's own files.
    fn is_stores_own(&self, path: &Path) -> Result<bool, Failure> {
        Ok(self.context.place()?.0.owns(path))
    }

    /// Writes a secret alone on its line or, if a format is given, with its record.
    pub(crate) fn take(&mut self, secret: &Secret, record: &impl Serialize) -> io::Result<()> {
        if let Some(path) = self.file.clone() {
            // Checked again, since the store may have been made in between.
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
        match self.context.output {
            Format::Table => self.context.terminal.hand_over(&alone(secret)?),
            Format::Json | Format::Jsonl => self.context.terminal.hand_over(&with_record(secret, record)?),
            Format::Csv => Err(io::Error::other("a secret is not printed as csv")),
            Format::Sarif => Err(io::Error::other("a secret is not printed as SARIF")),
        }
    }

    fn hand_over_record(&self, record: &impl Serialize) -> io::Result<()> {
        match self.context.output {
            Format::Json | Format::Jsonl => {
                let mut bytes = json::to_bytes(record)?;
                bytes.push(b'\n');
                self.context.terminal.hand_over(&bytes)
            }
            Format::Table | Format::Csv | Format::Sarif => Ok(()),
        }
    }

    /// Keeps the file, once the change is committed. Returns the part of a notice that names the file.
    pub(crate) fn keep(mut self) -> Option<String> {
        self.made.take().map(|path| format!("its secret is in {}", escape(&path.display().to_string())))
    }
}

impl Drop for SecretSink<'_> {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            // The secret in it is void, and the error that led here is reported already.
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

/// Returns the record as a JSON object with the secret after its id. No character of a secret needs escaping in JSON.
fn with_record(secret: &Secret, record: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let object = json::to_bytes(record)?;
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
