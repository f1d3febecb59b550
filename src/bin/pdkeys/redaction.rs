//! Removes secrets from messages: a secret that was pasted into the command line or the environment is never repeated.

use std::borrow::Cow;
use std::ffi::OsString;

use pdkeys::model::{Secret, looks_secret, secrets_within};

/// Returns the arguments that look like secrets, including values attached to an option (`--key=SECRET`, `-kSECRET`,
/// `--SECRET`), and the secrets inside longer arguments (`Bearer SECRET`, `SECRET,`) where they cannot be plain words.
pub(crate) fn possible_secrets(arguments: &[OsString]) -> Vec<Secret> {
    let candidates = |argument: &str| -> Vec<String> {
        let attached = argument.strip_prefix('-').map(|option| option.chars().skip(1).collect());
        argument.split('=').map(str::to_owned).chain(attached).collect()
    };
    let whole = arguments
        .iter()
        .flat_map(|argument| candidates(&argument.to_string_lossy()))
        .filter(|candidate| looks_secret(candidate.as_bytes()))
        .map(Secret::presented);
    whole.chain(certain_secrets(arguments)).collect()
}

/// Returns the parts of arguments that look like secrets and cannot be plain words. Messages of commands that succeed
/// hide only these: a name of 20 letters is shown as it is.
pub(crate) fn certain_secrets(arguments: &[OsString]) -> Vec<Secret> {
    arguments.iter().flat_map(|argument| secrets_within(&argument.to_string_lossy())).collect()
}

/// Replaces each of `secrets` in a text by its hint.
pub(crate) fn hide<'t>(secrets: &[Secret], text: &'t str) -> Cow<'t, str> {
    secrets.iter().fold(Cow::Borrowed(text), |text, secret| Cow::Owned(secret.redact(&text)))
}
