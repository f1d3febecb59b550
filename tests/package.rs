//! The Debian package: what it is to hold is there, and nothing that a user of it should have is left out.

#![expect(clippy::panic, clippy::unwrap_used, reason = "what a test needs and cannot get fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands in `Cargo.toml` for `cargo deb`.
fn package() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"][0]["metadata"]["deb"].clone()
}

/// What a path leads to, in which the name of the file may have one `*`.
fn found(pattern: &str) -> Vec<PathBuf> {
    let path = root().join(pattern);
    let Some((start, end)) = path.file_name().unwrap().to_str().unwrap().split_once('*') else {
        return if path.is_file() { vec![path] } else { Vec::new() };
    };
    let entries = fs::read_dir(path.parent().unwrap()).unwrap_or_else(|_| panic!("{pattern} leads nowhere"));
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(start) && name.ends_with(end)
    };
    entries.map(|entry| entry.unwrap().path()).filter(fits).collect()
}

fn assets(package: &Value) -> Vec<[String; 3]> {
    let assets: Vec<[String; 3]> = serde_json::from_value(package["assets"].clone()).unwrap();
    assert!(assets.len() > 10, "{assets:?}");
    assets
}

#[test]
fn everything_that_is_packed_is_there() {
    for [from, to, mode] in assets(&package()) {
        assert!(to.starts_with("usr/"), "{to} would be a file that upgrades ask about");
        if from == "target/release/pdkeys" {
            assert_eq!(mode, "755");
        } else {
            assert!(!found(&from).is_empty(), "{from} is not there");
            assert_eq!(mode, "644", "{from}");
        }
    }
    for script in ["postinst", "prerm"] {
        let directory = package()["maintainer-scripts"].as_str().unwrap().to_owned();
        let path = root().join(directory).join(script);
        let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
        assert!(checked.success(), "{}", path.display());
    }
}

#[test]
fn everything_that_users_are_shown_is_packed() {
    let assets = assets(&package());
    let packed: Vec<_> = assets.iter().flat_map(|[from, ..]| found(from)).collect();
    for directory in [
        "docs",
        "man",
        "completions",
        "contrib/nginx",
        "contrib/caddy",
        "contrib/traefik",
        "contrib/envoy",
        "contrib/systemd",
    ] {
        for entry in fs::read_dir(root().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            assert!(packed.contains(&path), "{} is in no package", path.display());
        }
    }
}

/// Where the unit looks for the program, its account and its store, the package puts them.
#[test]
fn the_unit_fits_the_package() {
    let unit = fs::read_to_string(root().join("contrib/systemd/pdkeys.service")).unwrap();
    let accounts = fs::read_to_string(root().join("contrib/systemd/sysusers.conf")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/pdkeys serve "));
    assert!(unit.contains("\nUser=pdkeys\n") && accounts.contains("\nu pdkeys "));
    assert!(unit.contains("\nStateDirectory=pdkeys\n") && unit.contains("=/var/lib/pdkeys/pdkeys.db\n"));
    assert!(accounts.contains(" /var/lib/pdkeys\n"));
    let targets: Vec<_> = assets(&package()).into_iter().map(|[_, to, _]| to).collect();
    assert!(targets.contains(&"usr/bin/".to_owned()));
    assert!(targets.contains(&"usr/lib/systemd/system/".to_owned()));
    assert!(targets.contains(&"usr/lib/sysusers.d/pdkeys.conf".to_owned()));
}
