//! Listens on TCP, on Unix sockets, or on sockets that systemd passed.

use std::fs;
use std::io;
use std::net;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use listenfd::ListenFd;
use rustix::fs::Mode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::address::Address;
use crate::failure::Failure;

/// The default address, which only this machine can reach.
const DEFAULT: &str = "127.0.0.1:8787";
/// How many connections may wait to be accepted; the kernel may have a lower bound.
const BACKLOG: i32 = 4096;

/// A socket that is bound but does not accept connections yet.
pub(super) enum Bound {
    Tcp(net::TcpListener),
    Unix(unix::UnixListener, Option<SocketFile>),
}

/// Binds all addresses. Without any, the sockets that systemd passed are used, if there are some, else the default.
pub(super) fn bind_all(addresses: &[Address], socket_mode: u32) -> Result<Vec<Bound>, Failure> {
    let mut passed = ListenFd::from_env();
    let preset = if passed.len() > 0 { Address::Systemd } else { Address::Tcp(DEFAULT.to_owned()) };
    let addresses = if addresses.is_empty() { &[preset] } else { addresses };
    let mut bound = Vec::new();
    for address in addresses {
        match address {
            Address::Systemd => bound.extend(of_systemd(&mut passed)?),
            address => bound.push(bind(address, socket_mode)?),
        }
    }
    Ok(bound)
}

/// Binds one address.
pub(super) fn bind(address: &Address, socket_mode: u32) -> Result<Bound, Failure> {
    match address {
        Address::Tcp(text) => bind_tcp(text).map_err(|error| {
            Failure::failed(format!("cannot listen on {text}: {error}"))
                .with_hint("--listen names another address")
        }),
        Address::Unix(path) => bind_unix(path, socket_mode),
        Address::Systemd => Err(Failure::usage("systemd passes the sockets of --listen alone")),
    }
}

fn bind_tcp(address: &str) -> io::Result<Bound> {
    let listener = net::TcpListener::bind(address)?;
    // The standard library asks for room for 128, which a burst of new connections fills.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(Bound::Tcp(listener))
}

fn bind_unix(path: &Path, mode: u32) -> Result<Bound, Failure> {
    let cannot = |error: io::Error| Failure::failed(format!("cannot listen on {}: {error}", path.display()));
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(Failure::failed(format!("{} is there already, and is no socket", path.display()))
                .with_hint("nothing was touched; --listen unix:PATH names another place"));
        }
        Ok(_) => match unix::UnixStream::connect(path) {
            Ok(_) => {
                return Err(Failure::failed(format!(
                    "another process listens on {} already",
                    path.display()
                ))
                .with_hint("nothing was touched; --listen unix:PATH names another place"));
            }
            // A process that no longer runs left it behind.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(cannot)?;
            }
            Err(error) => return Err(cannot(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot(error)),
    }
    // No other user may connect before the permissions are set.
    let before = rustix::process::umask(Mode::from_raw_mode(0o777));
    let bound = unix::UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(cannot)?;
    rustix::net::listen(&listener, BACKLOG).map_err(|error| cannot(error.into()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(cannot)?;
    let file = SocketFile::at(path).map_err(cannot)?;
    Ok(Bound::Unix(listener, Some(file)))
}

fn of_systemd(passed: &mut ListenFd) -> Result<Vec<Bound>, Failure> {
    let none = || {
        Failure::failed("systemd passed no socket")
            .with_hint("a socket unit starts it with one; --listen HOST:PORT needs none")
    };
    if passed.len() == 0 {
        return Err(none());
    }
    (0..passed.len())
        .map(|index| {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                return Ok(Bound::Tcp(listener));
            }
            match passed.take_unix_listener(index) {
                Ok(Some(listener)) => Ok(Bound::Unix(listener, None)),
                Ok(None) => Err(Failure::usage("--listen systemd was given twice")),
                Err(error) => Err(Failure::failed(format!("a socket that systemd passed: {error}"))),
            }
        })
        .collect()
}

/// The file of a Unix socket that this process made. Dropping it removes the file, unless another one replaced it.
pub(super) struct SocketFile {
    path: PathBuf,
    which: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), which: device_and_inode(path)? })
    }
}

fn device_and_inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if device_and_inode(&self.path).is_ok_and(|which| which == self.which) {
            // If this fails, the next server removes the stale file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Bound {
    /// Returns whether other machines can reach it.
    pub(super) fn is_open_to_others(&self) -> bool {
        match self {
            Self::Tcp(listener) => listener.local_addr().is_ok_and(|address| !address.ip().is_loopback()),
            Self::Unix(..) => false,
        }
    }

    /// Returns its name in the log.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
            }
            Self::Unix(listener, _) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(unix::SocketAddr::as_pathname);
                format!("unix:{}", path.unwrap_or(Path::new("")).display())
            }
        }
    }

    /// Begins to accept connections. Must be called within a runtime.
    pub(super) fn start(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Listener::Tcp)
            }
            Self::Unix(listener, file) => {
                listener.set_nonblocking(true)?;
                Ok(Listener::Unix(UnixListener::from_std(listener)?, file))
            }
        }
    }
}

/// A listening socket that accepts connections.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "its file goes when it is dropped")] Option<SocketFile>),
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Responses are small, and must not wait for more data.
                stream.set_nodelay(true)?;
                stream.into_std().map(Accepted::Tcp)
            }
            Self::Unix(listener, _) => listener.accept().await?.0.into_std().map(Accepted::Unix),
        }
    }
}

/// A connection that is not registered with an event loop yet.
pub(super) enum Accepted {
    Tcp(net::TcpStream),
    Unix(unix::UnixStream),
}

impl Accepted {
    /// Registers it with the event loop of this thread.
    pub(super) fn start(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Stream::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Stream::Unix),
        }
    }
}

/// A TCP or Unix stream.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
