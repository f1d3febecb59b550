//! The ports of the programs that pages start: each that a page shows, and the free one that stands in for it here.

use std::net::{Ipv4Addr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use regex::Regex;

use crate::process::free_port;

/// The port of the gateway.
pub(crate) const GATEWAY: &str = "8000";
/// The port of the API behind the gateway.
pub(crate) const API: &str = "8080";
/// The port of `pdkeys serve`.
pub(crate) const PDKEYS: &str = "8787";

pub(crate) struct Ports([(&'static str, u16); 3]);

impl Ports {
    pub(crate) fn new() -> Self {
        Self([GATEWAY, API, PDKEYS].map(|shown| (shown, free_port())))
    }

    /// Replaces the shown ports in a command or a configuration.
    pub(crate) fn here(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, here)| {
            let port = Regex::new(&format!(r"\b{shown}\b")).unwrap();
            port.replace_all(&text, here.to_string()).into_owned()
        })
    }

    /// Replaces the ports of this run in what was printed, where they follow a colon.
    pub(crate) fn shown(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, (shown, here)| {
            let port = Regex::new(&format!(r":{here}\b")).unwrap();
            port.replace_all(&line, format!(":{shown}")).into_owned()
        })
    }

    pub(crate) fn is_listening(&self, shown: &str) -> bool {
        let (_, port) = self.0.iter().find(|(other, _)| *other == shown).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok()
    }

    /// Waits until a program listens, since a test types the next command sooner than a reader.
    pub(crate) fn wait_for(&self, shown: &str) {
        let started = Instant::now();
        while !self.is_listening(shown) {
            assert!(started.elapsed().as_secs() < 20, "nothing listens on port {shown}");
            sleep(Duration::from_millis(20));
        }
    }
}
