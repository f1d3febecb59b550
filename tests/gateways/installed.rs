//! Where the gateways and clients lie that `tests/run` installs.

use std::env;
use std::path::{Path, PathBuf};

const HOW: &str = "tests/run installs it";

/// The directory, below that of the build, in which `tests/run` installs what Debian has no package of.
fn beside_the_build() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("gateways")
}

/// A program of the Python environment.
pub(crate) fn python(name: &str) -> PathBuf {
    expected(beside_the_build().join("python/bin").join(name))
}

/// The directory of the Node packages.
pub(crate) fn node_modules() -> PathBuf {
    expected(beside_the_build().join("node/node_modules"))
}

/// A program of the system.
#[expect(clippy::disallowed_methods, reason = "a test is a program of its own, with its own environment")]
pub(crate) fn system(name: &str) -> PathBuf {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"])
        .map(|directory| Path::new(directory).join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is missing; {HOW}"))
}

fn expected(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing; {HOW}", path.display());
    path
}
