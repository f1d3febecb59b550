//! The gateways, with the configurations that `contrib/` shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::installed;
use crate::programs::{caddy, nginx, shown};

/// A gateway that asks pdkeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gateway {
    Nginx,
    Caddy,
    Traefik,
    Envoy,
}

/// Where everything listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) gateway: u16,
    pub(crate) pdkeys: u16,
    pub(crate) api: u16,
}

impl Ports {
    /// A shown configuration, with these ports in the place of those shown, and nothing else changed.
    pub(crate) fn put_into(self, shown: &str) -> String {
        [("8000", self.gateway), ("8787", self.pdkeys), ("8080", self.api)]
            .into_iter()
            .fold(shown.to_owned(), |text, (shown, here)| text.replace(shown, &here.to_string()))
    }
}

impl Gateway {
    /// What `--gateway` pins for it.
    pub(crate) fn pinned(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy | Self::Traefik => "forwarded",
            Self::Envoy => "envoy",
        }
    }

    /// Whether the ratelimit headers come with a request that was let through too. Traefik cannot do that.
    pub(crate) fn always_tells_the_limit(self) -> bool {
        self != Self::Traefik
    }

    /// What a client gets when pdkeys cannot be asked. Traefik knows no other status for that.
    pub(crate) fn status_without_pdkeys(self) -> u16 {
        if self == Self::Traefik { 500 } else { 503 }
    }

    /// Writes the shown configuration to a directory, and gives the command that starts the gateway with it.
    pub(crate) fn command(self, directory: &Path, ports: Ports) -> Command {
        match self {
            Self::Nginx => nginx(directory, &ports.put_into(&shown("contrib/nginx/api.conf"))),
            Self::Caddy => caddy(directory, &ports.put_into(&shown("contrib/caddy/Caddyfile"))),
            Self::Traefik => {
                for file in ["traefik.yml", "api.yml"] {
                    let text = ports.put_into(&shown(&format!("contrib/traefik/{file}")));
                    fs::write(directory.join(file), text).unwrap();
                }
                let mut command = Command::new(installed::python("traefik"));
                command.arg("--configFile=traefik.yml").current_dir(directory);
                command
            }
            Self::Envoy => {
                let file = directory.join("envoy.yaml");
                fs::write(&file, ports.put_into(&shown("contrib/envoy/envoy.yaml"))).unwrap();
                let mut command = Command::new(installed::python("envoy"));
                command.args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]);
                command.arg("--config-path").arg(file);
                command
            }
        }
    }
}
