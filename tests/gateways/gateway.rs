//! The gateways, with the configurations that `contrib/` shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::installed;

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

/// A file of the repository.
pub(crate) fn shown(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
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

/// nginx with a file of its `conf.d`, where `/etc/nginx` is the directory: one process, which writes nowhere else.
pub(crate) fn nginx(directory: &Path, site: &str) -> Command {
    const AROUND: &str = "
        daemon off;
        master_process off;
        pid nginx.pid;
        error_log stderr warn;
        events {}
        http {
            access_log off;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            include conf.d/*.conf;
        }
    ";
    for inner in ["conf.d", "snippets"] {
        fs::create_dir_all(directory.join(inner)).unwrap();
    }
    fs::write(directory.join("nginx.conf"), AROUND).unwrap();
    fs::write(directory.join("conf.d/api.conf"), site).unwrap();
    for snippet in ["pdkeys-server.conf", "pdkeys-location.conf"] {
        let text = shown(&format!("contrib/nginx/{snippet}"));
        fs::write(directory.join("snippets").join(snippet), text).unwrap();
    }
    let mut command = Command::new(installed::system("nginx"));
    command.arg("-p").arg(directory).args(["-c", "nginx.conf", "-e", "stderr"]);
    command
}

/// Caddy with a Caddyfile, which keeps what it keeps in the directory.
pub(crate) fn caddy(directory: &Path, caddyfile: &str) -> Command {
    // The port of its administration is taken if another test runs, and the system is not to trust its certificates.
    let text =
        format!("{{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}}\n{caddyfile}");
    fs::write(directory.join("Caddyfile"), text).unwrap();
    let mut command = Command::new(installed::python("caddy"));
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(directory.join("Caddyfile"));
    command.env("HOME", directory).env("XDG_DATA_HOME", directory).env("XDG_CONFIG_HOME", directory);
    command
}
