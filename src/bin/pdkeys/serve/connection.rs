//! The state of a connection, and checks of its incoming bytes that hyper does not make.
//!
//! hyper has one timeout for idle connections and for slow requests, and gateways keep idle connections for minutes. So
//! each connection records its phase and when the phase began, which costs next to nothing, and one task inspects all
//! connections once a second.
//!
//! hyper accepts a bare line feed as the end of a line, which other programs treat as part of the line. No gateway sends
//! one, so it is taken for an attack, and the connection is closed. For the same reason a client may not send another
//! request before the response: it is not read, and the connection ends with the response.
//!
//! hyper also ignores a `Content-Length` beside a transfer encoding, and a repeated one, and reports neither. So the lines
//! with a length are counted here, in the incoming bytes.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte has been received yet.
    Fresh,
    /// The head of a request is being received.
    Reading,
    /// A request is being answered.
    Serving,
    /// Waiting for the next request.
    Idle,
    /// The connection is to be closed.
    Over,
}

impl Phase {
    const ALL: [Self; 5] = [Self::Fresh, Self::Reading, Self::Serving, Self::Idle, Self::Over];
    const BITS: u32 = 3;
    const MASK: u64 = (1 << Self::BITS) - 1;

    /// Packs the phase and the second in which it began into one word.
    fn since(self, second: u64) -> u64 {
        second << Self::BITS | self as u64
    }

    fn of(word: u64) -> (Self, u64) {
        let found = Self::ALL.into_iter().find(|phase| *phase as u64 == word & Self::MASK);
        (found.unwrap_or(Self::Over), word >> Self::BITS)
    }
}

/// The seconds since the server started. A task counts them up, so that every request can read them cheaply.
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

/// The state of a connection, shared by its task and the task that inspects all connections.
#[derive(Debug)]
pub(super) struct ConnState {
    seconds: Seconds,
    word: AtomicU64,
    /// The number of bytes received after the head of the request.
    behind_head: AtomicU64,
    /// The number of `Content-Length` lines in the head.
    lengths: AtomicU64,
    waker: OnceLock<Waker>,
}

impl ConnState {
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

    /// Returns the phase, and the second in which it began.
    pub(super) fn phase(&self) -> (Phase, u64) {
        Phase::of(self.word.load(Ordering::Acquire))
    }

    /// Begins a phase, unless the connection is to be closed.
    pub(super) fn begin(&self, phase: Phase) {
        let began = phase.since(self.seconds.now());
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            (Phase::of(word).0 != Phase::Over).then_some(began)
        });
    }

    /// Closes the connection if it is still in the phase that was seen.
    pub(super) fn end(&self, (phase, second): (Phase, u64)) {
        let (seen, over) = (phase.since(second), Phase::Over.since(second));
        let ended = self.word.compare_exchange(seen, over, Ordering::AcqRel, Ordering::Acquire);
        if let (Ok(_), Some(waker)) = (ended, self.waker.get()) {
            waker.wake_by_ref();
        }
    }

    /// Returns whether the connection is to be closed. Its task is woken when that changes.
    pub(super) fn is_over(&self, context: &Context<'_>) -> bool {
        self.waker.get_or_init(|| context.waker().clone());
        self.phase().0 == Phase::Over
    }

    /// Returns the number of bytes received after the head of the present request.
    pub(super) fn behind_head(&self) -> u64 {
        self.behind_head.load(Ordering::Relaxed)
    }

    /// Returns the number of `Content-Length` lines in the head of the present request.
    pub(super) fn lengths(&self) -> u64 {
        self.lengths.load(Ordering::Relaxed)
    }
}

/// A stream that checks the bytes it reads.
pub(super) struct GuardedStream<S> {
    stream: S,
    state: Arc<ConnState>,
    head: HeadScanner,
}

impl<S> GuardedStream<S> {
    pub(super) fn new(stream: S, state: Arc<ConnState>) -> Self {
        Self { stream, state, head: HeadScanner::default() }
    }

    fn came_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.state.phase().0, Phase::Fresh | Phase::Idle) {
            self.state.begin(Phase::Reading);
            self.head = HeadScanner::default();
            self.state.behind_head.store(0, Ordering::Relaxed);
            self.state.lengths.store(0, Ordering::Relaxed);
        }
        let was_whole = self.head.is_whole;
        let behind = self.head.read(bytes).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "a line of the head ends without a carriage return")
        })?;
        if self.head.is_whole && !was_whole {
            self.state.lengths.store(self.head.lengths, Ordering::Relaxed);
        }
        if behind > 0 {
            self.state.behind_head.fetch_add(behind as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedStream<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
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

/// The beginning of a line with a length.
const LENGTH: &[u8] = b"content-length:";

/// Scans the head of a request for line ends and lengths, as it is received in parts.
#[derive(Debug, Default)]
struct HeadScanner {
    /// The first bytes of the present line.
    start: [u8; LENGTH.len()],
    /// The number of lines with a length.
    lengths: u64,
    /// The length of the present line so far.
    line: usize,
    /// The last byte received.
    last: u8,
    /// Whether a line that is not empty has been received.
    has_begun: bool,
    is_whole: bool,
}

impl HeadScanner {
    /// Scans received bytes, and returns how many of them follow the head, or `None` if a line ends with a bare line feed.
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

    /// Keeps the first bytes of the present line.
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
            let mut head = HeadScanner::default();
            let behind: Vec<_> = GET.chunks(size).map(|part| head.read(part)).collect();
            assert!(behind.iter().all(|behind| *behind == Some(0)), "{size}");
            assert!(head.is_whole);
            assert_eq!(head.read(b"body\n"), Some(5), "a body has any bytes");
        }
        let mut head = HeadScanner::default();
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
                let mut head = HeadScanner::default();
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
                let mut head = HeadScanner::default();
                assert!(text.chunks(size).any(|part| head.read(part).is_none()), "{size}");
            }
        }
    }

    #[test]
    fn a_connection_that_began_something_else_meanwhile_is_not_ended() {
        let seconds = Seconds::default();
        let state = ConnState::new(seconds.clone());
        let seen = state.phase();
        assert_eq!(seen, (Phase::Fresh, 0));
        seconds.count_up();
        state.begin(Phase::Serving);
        state.end(seen);
        assert_eq!(state.phase(), (Phase::Serving, 1));
        state.end(state.phase());
        state.begin(Phase::Idle);
        assert_eq!(state.phase().0, Phase::Over, "what is to end begins nothing");
    }
}
