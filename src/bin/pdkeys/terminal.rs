//! The standard streams, colour and prompts. Nothing else touches them.
//!
//! Standard output is data and nothing but; everything else goes to standard error.

#![expect(clippy::disallowed_methods, reason = "this file is the one that the standard streams belong to")]
#![expect(clippy::unused_self, reason = "who holds a terminal may use the streams; nobody else does")]

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

use crate::failure::{Failure, hide};
use crate::prompt::{self, Echo};
use crate::session::variable;

/// How long the reader of a secret may keep it waiting. The store is locked meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a pipe that is ready takes without blocking: POSIX's least `PIPE_BUF`.
const SURE_TO_FIT: usize = 512;

/// The columns of a terminal of which nothing is known.
const USUAL_WIDTH: u16 = 80;
/// The columns of help that need no longer lines to be read well.
const WIDEST_HELP: usize = 100;

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
    /// Decides for a stream. Of the environment, `NO_COLOR` and `TERM` count, and only on a terminal.
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

/// Whether a terminal of this kind understands more than text.
fn takes_escape_sequences() -> bool {
    variable("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

/// The terminal, or what stands in its place.
#[derive(Debug)]
pub(crate) struct Terminal {
    color: Color,
    quiet: bool,
    /// What no message repeats.
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

    /// Whether cells of CSV go out as they are, also those that a spreadsheet would compute.
    pub(crate) fn with_raw_csv(self, raw_csv: bool) -> Self {
        Self { raw_csv, ..self }
    }

    /// Whether they do.
    pub(crate) fn raw_csv(&self) -> bool {
        self.raw_csv
    }

    /// Whether there is somebody to ask.
    pub(crate) fn is_interactive(&self) -> bool {
        stdin().is_terminal() && stderr().is_terminal()
    }

    /// Whether data goes to somebody's eyes.
    pub(crate) fn shows_to_people(&self) -> bool {
        stdout().is_terminal()
    }

    /// The width of the terminal that data goes to, in columns: what the terminal says, else what `COLUMNS` says, else
    /// what most are.
    pub(crate) fn width(&self) -> u16 {
        width_of(stdout())
    }

    /// Where data goes.
    pub(crate) fn data(&self) -> impl Write {
        BufWriter::new(AutoStream::new(stdout(), self.color.on(&stdout())).lock())
    }

    /// Where data goes of which there is a lot, and which has no colour.
    pub(crate) fn plain_data(&self) -> impl Write {
        BufWriter::with_capacity(1 << 16, stdout().lock())
    }

    /// Where notices go, which may be coloured.
    pub(crate) fn notices(&self) -> impl Write {
        AutoStream::new(stderr(), self.color.on(&stderr())).lock()
    }

    fn message(&self, style: Style, label: &str, text: &str) {
        let text = hide(&self.hidden, text);
        // There is nowhere left to complain that standard error is gone.
        let _ = writeln!(self.notices(), "{style}{label}{style:#} {text}");
    }

    /// Where a log goes.
    #[cfg(feature = "serve")]
    pub(crate) fn log(&self) -> impl Write + use<> {
        stderr()
    }

    /// Whether notices are unwanted.
    #[cfg(feature = "serve")]
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Shows how far something has come that takes long; to people only.
    pub(crate) fn progress(&self) -> Progress {
        let bar = ProgressBar::hidden();
        if stderr().is_terminal() && !self.quiet && takes_escape_sequences() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Progress(bar)
    }

    /// Says what was done.
    pub(crate) fn done(&self, verb: &str, text: &str) {
        if !self.quiet {
            self.message(DONE, verb, text);
        }
    }

    /// Says what somebody should know.
    pub(crate) fn warning(&self, text: &str) {
        self.message(WARNING, "warning:", text);
    }

    /// Says what to do next.
    pub(crate) fn hint(&self, text: &str) {
        if !self.quiet {
            self.message(HINT, "hint:", text);
        }
    }

    /// Says what went wrong, and what to do about it.
    pub(crate) fn failure(&self, failure: &Failure) {
        if let Some(message) = failure.message() {
            self.message(ERROR, "error:", &message);
        }
        for hint in failure.hints() {
            self.hint(hint);
        }
    }

    /// Shows what a question is about.
    pub(crate) fn show(&self, text: &str) {
        let text = hide(&self.hidden, text);
        let _ = writeln!(self.notices(), "{text}");
    }

    /// Asks for a line of text, again as long as `check` refuses it.
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

    /// Asks for a secret, which does not show.
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

    /// Standard input.
    pub(crate) fn input(&self) -> StdinLock<'static> {
        stdin().lock()
    }

    /// Whether standard input is a file, whatever it is called there.
    pub(crate) fn reads_from(&self, file: &Path) -> bool {
        let (Ok(input), Ok(file)) = (rustix::fs::fstat(stdin()), rustix::fs::stat(file)) else {
            return false;
        };
        (input.st_dev, input.st_ino) == (file.st_dev, file.st_ino)
    }

    /// Standard input as a file, for those who read it from its beginning to its end.
    pub(crate) fn input_file(&self) -> io::Result<File> {
        stdin().as_fd().try_clone_to_owned().map(File::from)
    }

    /// Asks whether to go on; without an answer, no.
    pub(crate) fn confirm(&self, question: &str) -> bool {
        let question = hide(&self.hidden, question);
        self.answer_to(&format!("{question} [y/N] "), Echo::Shown, |_| true)
            .is_ok_and(|answer| matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Writes a secret to standard output, and knows afterwards that it was taken: an output that is closed, full,
    /// or stopped for longer than two seconds is an error.
    pub(crate) fn hand_over(&self, bytes: &[u8]) -> io::Result<()> {
        let stdout = stdout();
        let stream = stdout.as_fd();
        refuse_closed(stream)?;
        let deadline = Instant::now() + PATIENCE;
        let mut rest = bytes;
        while !rest.is_empty() {
            wait_until_writable(stream, deadline)?;
            match rustix::io::write(stream, &rest[..rest.len().min(SURE_TO_FIT)]) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// How far something has come.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// It begins, and so many bytes are to come.
    pub(crate) fn begin(&self, bytes: u64) {
        self.0.set_length(bytes);
        if let Ok(style) =
            ProgressStyle::with_template("{wide_bar} {binary_bytes} of {binary_total_bytes}, {eta} left")
        {
            self.0.set_style(style);
        }
    }

    /// So many more bytes are done.
    pub(crate) fn advance(&self, bytes: usize) {
        self.0.inc(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Lets something be said meanwhile.
    pub(crate) fn make_way<T>(&self, say: impl FnOnce() -> T) -> T {
        self.0.suspend(say)
    }

    /// It is over, and need not be seen any more.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn width_of(terminal: impl AsFd) -> u16 {
    let said = rustix::termios::tcgetwinsize(terminal).ok().map(|size| size.ws_col);
    let columns = || variable("COLUMNS")?.to_str()?.parse().ok();
    said.filter(|width| *width > 0).or_else(columns).filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
}

/// The width that help is wrapped to. Where there is no terminal it is the same everywhere.
pub(crate) fn width_of_help() -> usize {
    let width = if stdout().is_terminal() {
        width_of(stdout()).into()
    } else if stderr().is_terminal() {
        width_of(stderr()).into()
    } else {
        WIDEST_HELP
    };
    width.min(WIDEST_HELP)
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
                    format!("standard output took nothing for {} s", PATIENCE.as_secs()),
                ));
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Where standard output is closed, Rust opens `/dev/null` for reading and writing in its place before `main`. A
/// secret written there is lost. A shell's `> /dev/null` is open for writing only, and somebody's wish.
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
