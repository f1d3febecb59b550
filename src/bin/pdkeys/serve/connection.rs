//! One connection: what it is doing, how long it may, and what comes in on it.
//!
//! hyper's own timer would end an idle connection as soon as one that sends its request too slowly, in the middle of
//! a gateway's use of it. So each connection notes what it is doing and since when, which costs next to nothing, and
//! one task looks at all of them once a second.
//!
//! hyper takes a bare line feed for the end of a line, where others see a part of it. No gateway sends one; whoever
//! does has something in mind, and is hung up on. For the same reason nobody may send another request before the
//! answer: it is not read, and the connection ends with the answer.
//!
//! hyper also passes over a length beside an encoding, and over a length that is given twice, and shows neither. So
//! lines with a length are counted here, where the bytes come in.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come in yet.
    Fresh,
    /// The head of a request is coming in.
    Reading,
    /// A request is being answered.
    Serving,
    /// Nothing, after an answer.
    Idle,
    /// It is to end.
    Over,
}

impl Phase {
    const ALL: [Self; 5] = [Self::Fresh, Self::Reading, Self::Serving, Self::Idle, Self::Over];
    const BITS: u32 = 3;
    const MASK: u64 = (1 << Self::BITS) - 1;

    /// The phase, and the second since when, in one word.
    fn since(self, second: u64) -> u64 {
        second << Self::BITS | self as u64
    }

    fn of(word: u64) -> (Self, u64) {
        let found = Self::ALL.into_iter().find(|phase| *phase as u64 == word & Self::MASK);
        (found.unwrap_or(Self::Over), word >> Self::BITS)
    }
}

/// The seconds since the server started, as a number that somebody counts up: cheap to ask at every request.
#[derive(Clone, Debug, Default)]
pub(super) struct Seconds(Arc<AtomicU64>);

impl Seconds {
    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn count_up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the task of a connection and the one that looks at all of them know of it.
#[derive(Debug)]
pub(super) struct Pulse {
    seconds: Seconds,
    word: AtomicU64,
    /// How many bytes have come in behind the head of the request.
    behind_head: AtomicU64,
    /// How many lines of the head have a length.
    lengths: AtomicU64,
    waker: OnceLock<Waker>,
}

impl Pulse {
    pub(super) fn new(seconds: Seconds) -> Self {
        let word = AtomicU64::new(Phase::Fresh.since(seconds.now()));
        Self {
            seconds,
            word,
            behind_head: AtomicU64::new(0),
            lengths: AtomicU64::new(0),
            waker: OnceLock::new(),
        }
    }

    /// What it is doing, and since which second.
    pub(super) fn phase(&self) -> (Phase, u64) {
        Phase::of(self.word.load(Ordering::Acquire))
    }

    /// Notes what it begins to do, unless it is to end.
    pub(super) fn begin(&self, phase: Phase) {
        let began = phase.since(self.seconds.now());
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            (Phase::of(word).0 != Phase::Over).then_some(began)
        });
    }

    /// Ends it, if it still does what it was seen to do.
    pub(super) fn end(&self, (phase, second): (Phase, u64)) {
        let (seen, over) = (phase.since(second), Phase::Over.since(second));
        let ended = self.word.compare_exchange(seen, over, Ordering::AcqRel, Ordering::Acquire);
        if let (Ok(_), Some(waker)) = (ended, self.waker.get()) {
            waker.wake_by_ref();
        }
    }

    /// Whether it is to end; its task is woken when it is to.
    pub(super) fn is_over(&self, context: &Context<'_>) -> bool {
        self.waker.get_or_init(|| context.waker().clone());
        self.phase().0 == Phase::Over
    }

    /// How many bytes have come in behind the head of the request that is being answered.
    pub(super) fn behind_head(&self) -> u64 {
        self.behind_head.load(Ordering::Relaxed)
    }

    /// How many `Content-Length` lines the head of the request that is being answered has.
    pub(super) fn lengths(&self) -> u64 {
        self.lengths.load(Ordering::Relaxed)
    }
}

/// The bytes of a connection.
pub(super) struct Wire<S> {
    stream: S,
    pulse: Arc<Pulse>,
    head: Head,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse, head: Head::default() }
    }

    fn came_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.pulse.phase().0, Phase::Fresh | Phase::Idle) {
            self.pulse.begin(Phase::Reading);
            self.head = Head::default();
            self.pulse.behind_head.store(0, Ordering::Relaxed);
            self.pulse.lengths.store(0, Ordering::Relaxed);
        }
        let was_whole = self.head.is_whole;
        let behind = self.head.read(bytes).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "a line of the head ends without a carriage return")
        })?;
        if self.head.is_whole && !was_whole {
            self.pulse.lengths.store(self.head.lengths, Ordering::Relaxed);
        }
        if behind > 0 {
            self.pulse.behind_head.fetch_add(behind as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let new = &buffer.filled()[before..];
        Poll::Ready(if new.is_empty() { Ok(()) } else { this.came_in(new) })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// How a line with a length begins.
const LENGTH: &[u8] = b"content-length:";

/// The head of a request as it comes in, as far as its line ends and lengths go.
#[derive(Debug, Default)]
struct Head {
    /// How the line begins.
    start: [u8; LENGTH.len()],
    /// How many lines have a length.
    lengths: u64,
    /// How long the line is so far.
    line: usize,
    /// The last byte that came in.
    last: u8,
    /// Whether a line has come in that was not empty.
    has_begun: bool,
    is_whole: bool,
}

impl Head {
    /// Takes in what came, and says how much of it stands behind the head. `None` if a line ends with a line feed
    /// alone.
    fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.is_whole {
            return Some(bytes.len());
        }
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let before = if at > 0 { rest[at - 1] } else { self.last };
            if before != b'\r' {
                return None;
            }
            self.begins_with(&rest[..at]);
            self.lengths += u64::from(self.start.eq_ignore_ascii_case(LENGTH));
            self.start = [0; LENGTH.len()];
            let is_empty = self.line + at == 1;
            rest = &rest[at + 1..];
            (self.line, self.last) = (0, b'\n');
            if is_empty && self.has_begun {
                self.is_whole = true;
                return Some(rest.len());
            }
            self.has_begun |= !is_empty;
        }
        self.begins_with(rest);
        self.line += rest.len();
        self.last = rest.last().copied().unwrap_or(self.last);
        Some(0)
    }

    /// Notes how the line begins, as far as these bytes are its beginning.
    fn begins_with(&mut self, bytes: &[u8]) {
        if let Some(start) = self.start.get_mut(self.line..) {
            let length = start.len().min(bytes.len());
            start[..length].copy_from_slice(&bytes[..length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn a_head_is_read_whole_however_it_comes_in() {
        for size in 1..=GET.len() {
            let mut head = Head::default();
            let behind: Vec<_> = GET.chunks(size).map(|part| head.read(part)).collect();
            assert!(behind.iter().all(|behind| *behind == Some(0)), "{size}");
            assert!(head.is_whole);
            assert_eq!(head.read(b"body\n"), Some(5), "a body has any bytes");
        }
        let mut head = Head::default();
        assert_eq!(head.read(&[b"\r\n", GET, b"GET"].concat()), Some(3), "empty lines may come first");
    }

    #[test]
    fn lengths_are_counted_however_they_come_in() {
        for (text, lengths) in [
            (GET, 0),
            (b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 1),
            (b"GET / HTTP/1.1\r\nContent-Length:0\r\nA: b\r\ncontent-LENGTH: 0\r\n\r\nContent-Length: 0\r\n", 2),
            (b"GET / HTTP/1.1\r\nX-Content-Length: 0\r\nContent-Lengths: 0\r\nA: Content-Length: 0\r\n\r\n", 0),
        ] {
            for size in 1..=text.len() {
                let mut head = Head::default();
                assert!(text.chunks(size).all(|part| head.read(part).is_some()));
                assert_eq!(head.lengths, lengths, "{size}");
            }
        }
    }

    #[test]
    fn a_line_feed_alone_is_no_end_of_a_line() {
        for text in [
            &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nX: a\nY: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"\nGET / HTTP/1.1\r\n\r\n",
        ] {
            for size in 1..=text.len() {
                let mut head = Head::default();
                assert!(text.chunks(size).any(|part| head.read(part).is_none()), "{size}");
            }
        }
    }

    #[test]
    fn a_connection_that_began_something_else_meanwhile_is_not_ended() {
        let seconds = Seconds::default();
        let pulse = Pulse::new(seconds.clone());
        let seen = pulse.phase();
        assert_eq!(seen, (Phase::Fresh, 0));
        seconds.count_up();
        pulse.begin(Phase::Serving);
        pulse.end(seen);
        assert_eq!(pulse.phase(), (Phase::Serving, 1));
        pulse.end(pulse.phase());
        pulse.begin(Phase::Idle);
        assert_eq!(pulse.phase().0, Phase::Over, "what is to end begins nothing");
    }
}
