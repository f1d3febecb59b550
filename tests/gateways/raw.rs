//! Bytes as they are, on a connection to a gateway or an API.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use crate::curl::Answer;

/// How long nothing may come before what came is all that comes.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends bytes, unless the other side has ended the connection.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// Reads what comes, until that is enough or all.
    pub(crate) fn read_until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut said = Vec::new();
        let mut bytes = [0; 4096];
        while !is_enough(&said) {
            match self.0.read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => said.extend_from_slice(&bytes[..read]),
                Err(error) => {
                    let is_all = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::ConnectionReset];
                    assert!(is_all.contains(&error.kind()), "{error}");
                    break;
                }
            }
        }
        said
    }
}

/// Sends a GET with these header lines, on a connection that ends with it, and gives the answer.
pub(crate) fn get(port: u16, target: &str, lines: &[(&str, &str)]) -> Answer {
    ask(port, "GET", target, lines)
}

/// Sends a request without a body, as [`get`] does.
pub(crate) fn ask(port: u16, method: &str, target: &str, lines: &[(&str, &str)]) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n");
    for (name, value) in lines {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if method != "GET" {
        head.push_str("Content-Length: 0\r\n");
    }
    let mut connection = Raw::connect(port);
    connection.send(head + "\r\n");
    let said = connection.read_until(|_| false);
    Answer::parse(&String::from_utf8_lossy(&said))
}
