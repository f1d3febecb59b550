//! How a credential comes in: from a file, from the environment, from standard input; never as an argument.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use pdkeys::verify::Presented;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::paths::STREAM;
use crate::session::{Context, variable};

/// More than any credential with its scheme; what is longer is malformed, and need not be read to its end.
const LONGEST_INPUT: u64 = 8 * 1024;

/// Where a credential comes from.
#[derive(Args, Debug)]
pub(crate) struct Source {
    /// Read the key from this file; `-` for standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    key_file: Option<PathBuf>,

    /// Refused: a secret in an argument is seen by everybody on the machine
    #[arg(long, value_name = "KEY", hide = true, num_args = 0..=1, default_missing_value = "")]
    key: Option<OsString>,

    /// Refused too, and taken only so that the refusal says why
    #[arg(value_name = "KEY", hide = true)]
    arguments: Vec<OsString>,
}

impl Source {
    /// Refuses a credential in an argument.
    pub(crate) fn refuse_arguments(&self, elsewhere: &str) -> Result<(), Failure> {
        if self.key.is_none() && self.arguments.is_empty() {
            return Ok(());
        }
        Err(Failure::usage("a key is not given as an argument, which everybody on the machine can see")
            .with_hint(elsewhere))
    }

    /// Reads the credential: from the file, else from the variable of the environment, if there is one to look at, else
    /// from standard input.
    pub(crate) fn read(&self, context: &Context, name: Option<&str>) -> Result<Presented, Failure> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
        let is_input = self.key_file.as_ref().is_some_and(|path| path.as_os_str() == STREAM);
        if let Some(path) = self.key_file.as_ref().filter(|_| !is_input) {
            File::open(path)
                .and_then(|file| file.take(LONGEST_INPUT).read_to_end(&mut bytes))
                .map_err(|error| Failure::failed(format!("key file {}: {error}", path.display())))?;
        } else if let Some(key) = name.filter(|_| !is_input).and_then(variable) {
            bytes.extend_from_slice(key.as_encoded_bytes());
        } else if context.terminal.is_interactive() {
            bytes.extend_from_slice(context.terminal.ask_secret("Key")?.as_bytes());
        } else {
            context
                .terminal
                .input()
                .take(LONGEST_INPUT)
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::failed(format!("standard input: {error}")))?;
        }
        Ok(Presented::parse(&bytes))
    }
}
