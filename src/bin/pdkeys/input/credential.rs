//! Reads a credential from a file, the environment or standard input; never from an argument.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use pdkeys::verify::Presented;
use zeroize::Zeroizing;

use crate::environment::variable;
use crate::failure::Failure;
use crate::paths::STREAM;
use crate::terminal::Terminal;

/// The largest input that is read, in bytes. Any credential with its scheme is shorter.
const LONGEST_INPUT: u64 = 8 * 1024;

/// The source of a credential.
#[derive(Args, Debug)]
pub(crate) struct Source {
    /// Read the key from this file; `-` for standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    key_file: Option<PathBuf>,

    /// Refused: every user of the machine can see a secret in an argument
    #[arg(long, value_name = "KEY", hide = true, num_args = 0..=1, default_missing_value = "")]
    key: Option<OsString>,

    /// Refused too; accepted by the parser only to explain why
    #[arg(value_name = "KEY", hide = true)]
    arguments: Vec<OsString>,
}

impl Source {
    /// Refuses a credential in an argument.
    pub(crate) fn refuse_arguments(&self, elsewhere: &str) -> Result<(), Failure> {
        if self.key.is_none() && self.arguments.is_empty() {
            return Ok(());
        }
        Err(Failure::usage("a key is not given as an argument, which every user of the machine can see")
            .with_hint(elsewhere))
    }

    /// Reads the credential from the file, else from the environment variable `name`, else from standard input.
    pub(crate) fn read(&self, terminal: &Terminal, name: Option<&str>) -> Result<Presented, Failure> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
        let is_input = self.key_file.as_ref().is_some_and(|path| path.as_os_str() == STREAM);
        if let Some(path) = self.key_file.as_ref().filter(|_| !is_input) {
            File::open(path)
                .and_then(|file| file.take(LONGEST_INPUT).read_to_end(&mut bytes))
                .map_err(|error| Failure::failed(format!("key file {}: {error}", path.display())))?;
        } else if let Some(key) = name.filter(|_| !is_input).and_then(variable) {
            bytes.extend_from_slice(key.as_encoded_bytes());
        } else if terminal.is_interactive() {
            bytes.extend_from_slice(terminal.ask_secret("Key")?.as_bytes());
        } else {
            terminal
                .input()
                .take(LONGEST_INPUT)
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::failed(format!("standard input: {error}")))?;
        }
        Ok(Presented::parse(&bytes))
    }
}
