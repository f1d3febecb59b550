//! Reads the answer to a question: a whole line that is typed after the question is asked.
//!
//! Earlier input is discarded, so that it is never taken for the answer. Esc, Ctrl-D and the end of input end the question
//! without an answer. The settings of the terminal are restored in every case, including signals.

use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcsetattr,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::flag;
use signal_hook::low_level::{emulate_default_handler, pipe};
use zeroize::Zeroizing;

/// The longest line that a terminal delivers, including its end.
const LONGEST_LINE: usize = 4096;
const ESCAPE: u8 = 0x1b;
/// How long there must be no input before a question is asked. Pasted text arrives faster than that.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 30_000_000 };
/// How many times input is discarded before the question is asked anyway.
const MOST_DISCARDED: usize = 50;

/// Whether an answer is echoed while it is typed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    Shown,
    Hidden,
}

/// Asks a question, and reads a line without its end from the terminal, until `is_taken` accepts it. Returns `None` if the
/// question ended without an answer.
///
/// # Errors
/// If `input` is not a terminal, or cannot be read.
pub(crate) fn ask(
    question: &str,
    echo: Echo,
    input: BorrowedFd<'_>,
    mut output: impl io::Write,
    is_taken: impl Fn(&str) -> bool,
) -> io::Result<Option<Zeroizing<String>>> {
    loop {
        let signals = HeldSignals::hold()?;
        let mode = LineMode::set(input, echo)?;
        discard_input(input)?;
        let signal = loop {
            write!(output, "{question}")?;
            output.flush()?;
            if let Some(signal) = signals.wait_for(input)? {
                break signal;
            }
            match read_line(input)? {
                Some(answer) if is_taken(&answer) => return Ok(Some(answer)),
                Some(_) => {}
                None => {
                    writeln!(output)?;
                    return Ok(None);
                }
            }
        };
        drop(mode);
        drop(signals);
        writeln!(output)?;
        // Ends the process or stops it. After a stop, the question is asked again.
        emulate_default_handler(signal)?;
    }
}

fn discard_input(input: BorrowedFd<'_>) -> io::Result<()> {
    for _ in 0..MOST_DISCARDED {
        tcflush(input, QueueSelector::IFlush)?;
        match rustix::event::poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&QUIET)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads one line from the terminal. It is an answer only if it is complete.
fn read_line(input: BorrowedFd<'_>) -> io::Result<Option<Zeroizing<String>>> {
    let mut bytes = Zeroizing::new([0; LONGEST_LINE]);
    let read = rustix::io::retry_on_intr(|| rustix::io::read(input, &mut bytes[..]))?;
    let line = bytes[..read].strip_suffix(b"\n").filter(|line| !line.contains(&ESCAPE));
    Ok(line.map(|line| Zeroizing::new(String::from_utf8_lossy(line).into_owned())))
}

/// A terminal in line mode, with Esc as an additional end of a line. Dropping it restores the mode from before.
struct LineMode<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> LineMode<'t> {
    fn set(terminal: BorrowedFd<'t>, echo: Echo) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut during = before.clone();
        during.input_modes |= InputModes::ICRNL;
        during.local_modes |= LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO | LocalModes::ECHONL;
        during.local_modes.set(LocalModes::ECHO, echo == Echo::Shown);
        during.special_codes[SpecialCodeIndex::VEOL] = ESCAPE;
        tcsetattr(terminal, OptionalActions::Now, &during)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for LineMode<'_> {
    fn drop(&mut self) {
        // Flushed, so that input after an Esc does not reach the shell. A failure cannot be handled here.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// The signals that would end or stop the process while the terminal is changed.
const HELD: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP];

/// The handlers of those signals. They stay installed, since a signal without its handler would be ignored.
struct Handlers {
    wakes: UnixStream,
    last: Arc<AtomicUsize>,
    /// Whether the signals have their default effect.
    is_default: Arc<AtomicBool>,
}

impl Handlers {
    fn install() -> io::Result<Self> {
        let (wakes, woken) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        let handlers = Self { wakes, last: Arc::default(), is_default: Arc::new(AtomicBool::new(true)) };
        for signal in HELD {
            flag::register_conditional_default(signal, Arc::clone(&handlers.is_default))?;
            let number = usize::try_from(signal).map_err(io::Error::other)?;
            flag::register_usize(signal, Arc::clone(&handlers.last), number)?;
            pipe::register(signal, woken.try_clone()?)?;
        }
        Ok(handlers)
    }
}

/// Holds the signals back until it is dropped.
struct HeldSignals(&'static Handlers);

impl HeldSignals {
    fn hold() -> io::Result<Self> {
        static HANDLERS: OnceLock<Handlers> = OnceLock::new();
        let handlers = match HANDLERS.get() {
            Some(handlers) => handlers,
            None => HANDLERS.get_or_init({
                let handlers = Handlers::install()?;
                || handlers
            }),
        };
        handlers.is_default.store(false, Ordering::SeqCst);
        Ok(Self(handlers))
    }

    /// Waits for input, and returns a signal if one arrives first.
    fn wait_for(&self, input: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        loop {
            let mut polled = [PollFd::new(&self.0.wakes, PollFlags::IN), PollFd::new(&input, PollFlags::IN)];
            match rustix::event::poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let has_input = !polled[1].revents().is_empty();
            let mut wakings = [0; 64];
            match (&self.0.wakes).read(&mut wakings) {
                Ok(_) => {
                    let signal = self.0.last.load(Ordering::SeqCst);
                    return i32::try_from(signal).map(Some).map_err(io::Error::other);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if has_input {
                return Ok(None);
            }
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        self.0.is_default.store(true, Ordering::SeqCst);
    }
}
