//! Where the gateways and clients lie that `tests/run` installs.

use std::env;
use std::path::{Path, PathBuf};

const HOW: &str = "tests/run installs it";

/// What `tests/run` puts below the build directory, for want of a Debian package.
pub(crate) fn beside_the_build(path: &str) -> PathBuf {
    let found = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("gateways").join(path);
    assert!(found.exists(), "{} is missing; {HOW}", found.display());
    found
}

/// A program of the Python environment.
pub(crate) fn python(name: &str) -> PathBuf {
    beside_the_build(&format!("python/bin/{name}"))
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
