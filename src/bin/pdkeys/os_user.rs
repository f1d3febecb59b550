//! The operating system's users: who runs the process, and their login names.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use pdkeys::model::{Name, Noun};

use crate::environment::variable;
use crate::failure::Failure;

/// Returns the uid of the operating-system user who acts: the real uid of the process, or the caller of sudo where the
/// process could do as it likes with the store anyway.
///
/// `file` is the store, or the directory in which a store is to be made. A file that does not exist counts as owned by
/// the process.
pub(crate) fn os_user(file: &Path) -> Result<u32, Failure> {
    let real = rustix::process::getuid().as_raw();
    let effective = rustix::process::geteuid().as_raw();
    let Some(sudo_uid) = variable("SUDO_UID") else { return Ok(real) };
    let owner = match fs::metadata(file) {
        Ok(metadata) => Some(metadata.uid()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(effective),
        Err(_) => None,
    };
    let is_trusted = |uid: u32| uid == 0 || Some(uid) == owner;
    if !(is_trusted(real) && is_trusted(effective)) {
        return Ok(real);
    }
    sudo_uid.to_str().and_then(|uid| uid.parse().ok()).ok_or_else(|| {
        Failure::not_permitted("SUDO_UID is not a user id")
            .with_hint("sudo sets it; unset it to act as yourself")
    })
}

/// Returns the login name of a uid if it can be a user's name here, else `uid-NUMBER`.
pub(crate) fn login_name(uid: u32) -> Result<Name, Failure> {
    let login = uzers::get_user_by_uid(uid).map(|user| user.name().to_string_lossy().into_owned());
    let name = login.and_then(|login| Name::parse(Noun::User, &login).ok());
    match name {
        Some(name) => Ok(name),
        None => Ok(Name::parse(Noun::User, &format!("uid-{uid}"))?),
    }
}

/// Returns the uid of a login name. A number is taken as a uid, whether or not it has a login name.
pub(crate) fn uid_of(login: &str) -> Result<u32, Failure> {
    if let Ok(uid) = login.parse() {
        return Ok(uid);
    }
    uzers::get_user_by_name(login).map(|user| user.uid()).ok_or_else(|| {
        Failure::usage(format!("there is no operating-system user {login}"))
            .with_hint("a number is taken as it is")
    })
}
