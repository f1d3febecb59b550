//! Reads the environment variables of the process. No other file of the command line does.

use std::env;
use std::ffi::OsString;

/// Returns the value of an environment variable, if it is set.
#[expect(clippy::disallowed_methods, reason = "this is where the command line reads its environment")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// Returns the values of all variables whose name begins with `PDKEYS_`.
pub(crate) fn settings() -> impl Iterator<Item = OsString> {
    env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PDKEYS_")).map(|(_, value)| value)
}

/// Returns whether the locale of the environment is a UTF-8 one.
pub(crate) fn locale_is_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty())
        .map(|value| value.to_string_lossy().to_lowercase());
    locale.is_some_and(|locale| locale.contains("utf-8") || locale.contains("utf8"))
}
