//! Addresses to listen on, as they are written on the command line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use pdkeys::ErrorKind;
use pdkeys::error::Conflict;
use pdkeys::store::Place;

use crate::failure::Failure;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host and a port.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
    /// The sockets that systemd passed.
    Systemd,
}

impl Address {
    /// Refuses a Unix socket whose name is reserved for the store's own files.
    pub(super) fn refuse_stores_own(&self, place: &Place) -> Result<(), Failure> {
        match self {
            Self::Unix(path) if place.owns(path) => {
                Err(pdkeys::Error::from(ErrorKind::from(Conflict::StoresOwnName(path.clone()))).into())
            }
            _ => Ok(()),
        }
    }
}

impl Address {
    /// Returns the file of a Unix socket.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) | Self::Systemd => None,
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "systemd" {
            return Ok(Self::Systemd);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err("the path is empty") } else { Ok(Self::Unix(path.into())) };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err("must be HOST:PORT, unix:PATH or systemd"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_a_port_or_a_unix_socket_or_systemd() {
        let read = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        for text in
            ["127.0.0.1:0", "[::1]:8787", "localhost:80", "unix:/run/pdkeys.sock", "unix:a", "systemd"]
        {
            assert_eq!(read(text).as_deref(), Ok(text));
        }
        for text in
            ["", ":8787", "localhost", "localhost:", "localhost:http", "localhost:70000", "unix:", "8787"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
