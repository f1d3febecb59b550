//! The standard streams and colour. No other file uses them.
//!
//! Only data goes to standard output; everything else goes to standard error.

#![expect(clippy::disallowed_methods, reason = "this file is the one that the standard streams belong to")]
#![expect(clippy::unused_self, reason = "only code that holds a terminal may use the streams")]

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, StdinLock, Write, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pdkeys::model::{Secret, escape};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::environment::variable;
use crate::failure::Failure;
use crate::prompt::{self, Echo};
use crate::redaction::hide;

/// How long writing a secret may block. The store is locked meanwhile.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// The number of bytes that a ready pipe takes without blocking: the smallest `PIPE_BUF` that POSIX allows.
const PIPE_BUF: usize = 512;

/// The width of a terminal whose width is unknown.
const DEFAULT_WIDTH: u16 = 80;
/// The largest width of help.
const MAX_HELP_WIDTH: usize = 100;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();
const DONE: Style = AnsiColor::Green.on_default().bold();

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Decides whether to use colour on a stream. `NO_COLOR` and `TERM` count only on a terminal.
    pub(crate) fn on(self, stream: &impl IsTerminal) -> ColorChoice {
        let wanted = match self {
            Self::Auto => {
                let no_color = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
                stream.is_terminal() && !no_color && takes_escape_sequences()
            }
            Self::Always => true,
            Self::Never => false,
        };
        if wanted { ColorChoice::Always } else { ColorChoice::Never }
    }
}

/// Returns whether the terminal understands escape sequences.
fn takes_escape_sequences() -> bool {
    variable("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

/// The standard streams, with the options for writing to them.
#[derive(Debug)]
pub(crate) struct Terminal {
    color: Color,
    quiet: bool,
    /// Secrets that messages replace by their hints.
    hidden: Vec<Secret>,
    raw_csv: bool,
}

impl Terminal {
    pub(crate) fn new(color: Color, quiet: bool) -> Self {
        Self { color, quiet, hidden: Vec::new(), raw_csv: false }
    }

    /// Returns the same terminal, which replaces these secrets by their hints in messages.
    pub(crate) fn hiding(self, hidden: Vec<Secret>) -> Self {
        Self { hidden, ..self }
    }

    /// Returns the same terminal, which writes CSV cells without the quote that keeps spreadsheets from computing them.
    pub(crate) fn with_raw_csv(self, raw_csv: bool) -> Self {
        Self { raw_csv, ..self }
    }

    /// Returns whether CSV cells are written without that quote.
    pub(crate) fn raw_csv(&self) -> bool {
        self.raw_csv
    }

    /// Returns whether questions can be asked: standard input and standard error are terminals.
    pub(crate) fn is_interactive(&self) -> bool {
        stdin().is_terminal() && stderr().is_terminal()
    }

    /// Returns whether standard output is a terminal.
    pub(crate) fn stdout_is_tty(&self) -> bool {
        stdout().is_terminal()
    }

    /// Returns the width in columns if standard output is a terminal: the terminal's own, else `COLUMNS`, else 80.
    pub(crate) fn stdout_width(&self) -> Option<u16> {
        self.stdout_is_tty().then(|| width_of(stdout()))
    }

    /// Returns standard output for data.
    pub(crate) fn data(&self) -> impl Write {
        BufWriter::new(AutoStream::new(stdout(), self.color.on(&stdout())).lock())
    }

    /// Returns standard output for large amounts of data without colour.
    pub(crate) fn plain_data(&self) -> impl Write {
        BufWriter::with_capacity(1 << 16, stdout().lock())
    }

    /// Returns standard error for notices.
    pub(crate) fn notices(&self) -> impl Write {
        AutoStream::new(stderr(), self.color.on(&stderr())).lock()
    }

    fn message(&self, style: Style, label: &str, text: &str) {
        let text = hide(&self.hidden, text);
        // If standard error is closed, there is nowhere to report it.
        let _ = writeln!(self.notices(), "{style}{label}{style:#} {text}");
    }

    /// Returns standard error for a log.
    #[cfg(feature = "serve")]
    pub(crate) fn log(&self) -> impl Write + use<> {
        stderr()
    }

    /// Returns whether `--quiet` was given.
    #[cfg(feature = "serve")]
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Returns a progress bar, which shows only on a terminal.
    pub(crate) fn progress(&self) -> Progress {
        let bar = ProgressBar::hidden();
        if stderr().is_terminal() && !self.quiet && takes_escape_sequences() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Progress(bar)
    }

    /// Prints a notice of what was done.
    pub(crate) fn done(&self, verb: &str, text: &str) {
        if !self.quiet {
            self.message(DONE, verb, text);
        }
    }

    /// Prints a warning.
    pub(crate) fn warning(&self, text: &str) {
        self.message(WARNING, "warning:", text);
    }

    /// Prints a hint of what to do next.
    pub(crate) fn hint(&self, text: &str) {
        if !self.quiet {
            self.message(HINT, "hint:", text);
        }
    }

    /// Prints an error with its hints.
    pub(crate) fn failure(&self, failure: &Failure) {
        if let Some(message) = failure.message() {
            self.message(ERROR, "error:", &message);
        }
        for hint in failure.hints() {
            self.hint(hint);
        }
    }

    /// Prints a line above a question.
    pub(crate) fn show(&self, text: &str) {
        let text = hide(&self.hidden, text);
        let _ = writeln!(self.notices(), "{text}");
    }

    /// Asks for a line of text until `check` accepts it. An empty answer stands for `preset`.
    pub(crate) fn ask(
        &self,
        question: &str,
        preset: Option<&str>,
        check: impl Fn(&str) -> pdkeys::model::Result<()>,
    ) -> Result<String, Failure> {
        let shown =
            preset.map_or_else(|| format!("{question}: "), |preset| format!("{question} [{preset}]: "));
        let answer = |typed: &str| preset.filter(|_| typed.is_empty()).unwrap_or(typed).to_owned();
        let typed = self.answer_to(&shown, Echo::Shown, |typed| match check(&answer(typed)) {
            Ok(()) => true,
            Err(refused) => {
                self.message(ERROR, "error:", &escape(&refused.to_string()));
                false
            }
        })?;
        Ok(answer(&typed))
    }

    /// Asks for a secret, which is not echoed.
    pub(crate) fn ask_secret(&self, question: &str) -> Result<Zeroizing<String>, Failure> {
        self.answer_to(&format!("{question}: "), Echo::Hidden, |_| true)
    }

    fn answer_to(
        &self,
        question: &str,
        echo: Echo,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Zeroizing<String>, Failure> {
        prompt::ask(&escape(question), echo, stdin().as_fd(), stderr(), is_taken)
            .ok()
            .flatten()
            .ok_or_else(|| Failure::not_confirmed("nothing was answered, and nothing was done"))
    }

    /// Returns standard input.
    pub(crate) fn input(&self) -> StdinLock<'static> {
        stdin().lock()
    }

    /// Returns whether standard input is a given file.
    pub(crate) fn reads_from(&self, file: &Path) -> bool {
        let (Ok(input), Ok(file)) = (rustix::fs::fstat(stdin()), rustix::fs::stat(file)) else {
            return false;
        };
        (input.st_dev, input.st_ino) == (file.st_dev, file.st_ino)
    }

    /// Returns standard input as an unbuffered file.
    pub(crate) fn input_file(&self) -> io::Result<File> {
        stdin().as_fd().try_clone_to_owned().map(File::from)
    }

    /// Asks a yes-or-no question. No answer is a no.
    pub(crate) fn confirm(&self, question: &str) -> bool {
        let question = hide(&self.hidden, question);
        self.answer_to(&format!("{question} [y/N] "), Echo::Shown, |_| true)
            .is_ok_and(|answer| matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Writes a secret to standard output.
    ///
    /// # Errors
    /// If standard output is closed, full, or blocks for longer than two seconds.
    pub(crate) fn hand_over(&self, bytes: &[u8]) -> io::Result<()> {
        let stdout = stdout();
        let stream = stdout.as_fd();
        refuse_closed(stream)?;
        let deadline = Instant::now() + WRITE_TIMEOUT;
        let mut rest = bytes;
        while !rest.is_empty() {
            wait_until_writable(stream, deadline)?;
            match rustix::io::write(stream, &rest[..rest.len().min(PIPE_BUF)]) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// A progress bar.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins, with the total number of bytes.
    pub(crate) fn begin(&self, bytes: u64) {
        self.0.set_length(bytes);
        if let Ok(style) =
            ProgressStyle::with_template("{wide_bar} {binary_bytes} of {binary_total_bytes}, {eta} left")
        {
            self.0.set_style(style);
        }
    }

    /// Advances by a number of bytes.
    pub(crate) fn advance(&self, bytes: usize) {
        self.0.inc(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Hides the bar while something is printed.
    pub(crate) fn make_way<T>(&self, say: impl FnOnce() -> T) -> T {
        self.0.suspend(say)
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn width_of(terminal: impl AsFd) -> u16 {
    let said = rustix::termios::tcgetwinsize(terminal).ok().map(|size| size.ws_col);
    let columns = || variable("COLUMNS")?.to_str()?.parse().ok();
    said.filter(|width| *width > 0).or_else(columns).filter(|width| *width > 0).unwrap_or(DEFAULT_WIDTH)
}

/// Returns the width that help is wrapped to. Without a terminal it is always the same.
pub(crate) fn width_of_help() -> usize {
    let width = if stdout().is_terminal() {
        width_of(stdout()).into()
    } else if stderr().is_terminal() {
        width_of(stderr()).into()
    } else {
        MAX_HELP_WIDTH
    };
    width.min(MAX_HELP_WIDTH)
}

fn wait_until_writable(stream: BorrowedFd<'_>, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut polled = [PollFd::new(&stream, PollFlags::OUT)];
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("standard output took nothing for {} s", WRITE_TIMEOUT.as_secs()),
                ));
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Refuses a standard output that was closed when the process started. Rust opens `/dev/null` for reading and writing in
/// its place, where a secret would be lost. `> /dev/null` of a shell is open for writing only, and intended.
fn refuse_closed(stream: BorrowedFd<'_>) -> io::Result<()> {
    let status = rustix::fs::fstat(stream)?;
    let is_null = fs::metadata("/dev/null")
        .is_ok_and(|null| null.rdev() == status.st_rdev && null.ino() == status.st_ino);
    let flags = rustix::fs::fcntl_getfl(stream)?;
    if is_null && flags.contains(rustix::fs::OFlags::RDWR) {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "standard output is closed"));
    }
    Ok(())
}
