//! nginx and Caddy as programs of a test: they run in a directory of their own, and leave the system alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::installed;

/// A file of the repository.
pub(crate) fn shown(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
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
