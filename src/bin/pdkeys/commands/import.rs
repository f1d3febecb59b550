//! The commands `pdkeys import` and `pdkeys user import`.

use std::cell::Cell;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use clap::Args;
use pdkeys::manage::{Entries, ImportMode, KeyEntry, Line, Material, Session, Tell, UserEntry};
use pdkeys::model::{
    Access, CredentialKind, Fingerprint, Imported, Label, Name, Noun, Role, ScopeSet, Secret, escape,
    parse_end_time, parse_time,
};
use pdkeys::ports::Clock as _;
use pdkeys::ports::SystemClock;
use pdkeys::store::sqlite::SqliteStore;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};
use crate::input::rows::{Row, RowFormat, Rows};
use crate::output::{self, CellStyle, Format, Record};
use crate::session::{Context, FirstUse};
use crate::terminal::Progress;

/// The arguments of every import.
#[derive(Args, Debug)]
struct From {
    /// The file; `-` for standard input
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,

    /// The format of the file, if its name does not say it
    #[arg(long, value_enum)]
    format: Option<RowFormat>,

    /// Only report what would be imported and what is wrong with the rest
    #[arg(long)]
    dry_run: bool,

    /// Leave bad lines out instead of importing nothing
    #[arg(long)]
    skip_bad: bool,
}

/// Import existing keys, so that no client has to change
///
/// The file is CSV with a header, or a JSON object a line (`.jsonl`). Its columns, in any order:
///
/// `kind`: `general`, `user-token` or `integration`
///
/// `secret`: the key itself, which must have the shape that its kind has here
///
/// `digest`: instead of `secret`, the SHA-256 of the key, in hexadecimal or base64; not for an integration, whose key stays
/// visible. Such a key has no hint
///
/// `description`: what it is for, or the name of an integration
///
/// `access`: for a general key `full`, `read-only`, or `scopes:` and scopes separated by spaces; for a user token `role` or
/// nothing, or `scopes:` and scopes that the user's role holds
///
/// `owner`: for a user token the user, for an integration the service, or the orchestration if the key begins with R, by
/// name or id; for a general key nothing
///
/// `created_at`, `expires_at`: a date, or a time; without them, now and never
///
/// Everything is imported or nothing, unless `--skip-bad` leaves bad lines out. An error names the line, and never repeats
/// what it holds. A quoted cell can span several lines; if it is not certain which, nothing is imported. A secret that a
/// key of this store has or had is refused. One audit record holds the number of keys and the SHA-256 of the file. The
/// store is locked for other changes meanwhile; checks go on.
#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    from: From,
}

const KEY_COLUMNS: &[&str] =
    &["kind", "secret", "digest", "description", "access", "owner", "created_at", "expires_at"];

impl Import {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let needed: &[&[&str]] = &[&["kind"], &["description"], &["secret", "digest"]];
        self.from.run(context, KEY_COLUMNS, needed, |session, rows, mode, tell| {
            let mut parse = |row| key_entry(row).map(Some);
            session.import_keys(&mut Parsed { rows, parse: &mut parse }, mode, tell)
        })
    }
}

/// Import users
///
/// The file is CSV with a header, or a JSON object a line (`.jsonl`), with the columns `name`, `email` (which may be
/// empty) and `role`, and optionally `os_uid`, `external_id` and `rate_limit`. `pdkeys export users` writes such a file:
/// its users who have left and its Account Owner are skipped, and ids are new. All others are imported or none, unless
/// `--skip-bad` leaves bad lines out. One audit record holds the number of users and the SHA-256 of the file.
#[derive(Args, Debug)]
pub(crate) struct ImportUsers {
    #[command(flatten)]
    from: From,
}

/// Those of an export, of which some say nothing about a new user.
const USER_COLUMNS: &[&str] = &[
    "name",
    "email",
    "role",
    "os_uid",
    "external_id",
    "rate_limit",
    "status",
    "id",
    "created_at",
    "left_at",
    "left_reason",
];

impl ImportUsers {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let left_out = Cell::new(0_u64);
        let needed: &[&[&str]] = &[&["name"], &["role"]];
        let done = self.from.run(context, USER_COLUMNS, needed, |session, rows, mode, tell| {
            let mut parse = |row| {
                let entry = user_entry(row)?;
                left_out.set(left_out.get() + u64::from(entry.is_none()));
                Ok(entry)
            };
            session.import_users(&mut Parsed { rows, parse: &mut parse }, mode, tell)
        })?;
        if let of_export @ 1.. = left_out.get() {
            let users = if of_export == 1 { "user" } else { "users" };
            context.terminal.hint(&format!(
                "{of_export} {users} of the export left out: its Account Owner, and those who had left"
            ));
        }
        Ok(done)
    }
}

/// A line that was not imported, as it is printed.
#[derive(Debug, Serialize)]
struct BadLine {
    line: u64,
    problem: String,
}

impl Record for BadLine {
    const FIELDS: &'static [&'static str] = &["line", "problem"];
    const HEADINGS: &'static [&'static str] = &["LINE", "PROBLEM"];

    fn cells(&self, _: &CellStyle) -> Vec<String> {
        vec![self.line.to_string(), self.problem.clone()]
    }
}

type Bring<'b> = dyn Fn(&mut Session<'_, SqliteStore>, Rows<'_>, ImportMode, Tell<'_>) -> Result<Imported, pdkeys::Error>
    + 'b;

impl From {
    fn run(
        &self,
        context: &Context,
        columns: &'static [&'static str],
        needed: &[&[&str]],
        bring: impl Fn(
            &mut Session<'_, SqliteStore>,
            Rows<'_>,
            ImportMode,
            Tell<'_>,
        ) -> Result<Imported, pdkeys::Error>,
    ) -> Result<Exit, Failure> {
        let progress = context.terminal.progress();
        // The file is opened, and its header read, before a store is opened or made.
        let rows = Rows::open(&self.file, self.format, columns, needed, &context.terminal, &progress)?;
        // A dry run makes no store either.
        let first_use = if self.dry_run { FirstUse::NeedsStore } else { FirstUse::MakesStore };
        let imported = context.with_session(first_use, |session| {
            let imported = self.bring(context, session, rows, &progress, &bring);
            progress.end();
            imported
        })?;
        self.tell(context, &imported);
        Ok(Exit::Done)
    }

    /// Imports the rows. Bad lines are warnings, or data if a format is given.
    fn bring(
        &self,
        context: &Context,
        session: &mut Session<'_, SqliteStore>,
        rows: Rows<'_>,
        progress: &Progress,
        bring: &Bring<'_>,
    ) -> Result<Imported, Failure> {
        let file = rows.name();
        let mode = ImportMode { skip_bad: self.skip_bad, dry_run: self.dry_run };
        let import = |tell: Tell<'_>| bring(session, rows, mode, tell);
        let format = context.output;
        if format == Format::Table {
            return Ok(import(&mut |line, problem| {
                let told = format!("{file}:{line}: {problem}");
                progress.make_way(|| context.terminal.warning(&escape(&told)));
                Ok(())
            })?);
        }
        let outcome = output::list(&context.terminal, format, SystemClock.now(), |emit| {
            Ok(import(&mut |line, problem| emit(BadLine { line, problem: problem.to_owned() })))
        })?;
        Ok(outcome?)
    }

    fn tell(&self, context: &Context, imported: &Imported) {
        let verb = if self.dry_run { "Would import" } else { "Imported" };
        let counted = [
            (imported.general_keys, "general key"),
            (imported.user_tokens, "user token"),
            (imported.integrations, "integration"),
            (imported.users, "user"),
        ];
        let counted = counted
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, noun)| format!("{count} {noun}{}", if *count == 1 { "" } else { "s" }));
        let mut told = match imported.count() {
            0 => "nothing".to_owned(),
            _ => counted.collect::<Vec<_>>().join(", "),
        };
        if imported.skipped > 0 {
            let plural = if imported.skipped == 1 { "" } else { "s" };
            told = format!("{told}; {} bad line{plural} left out", imported.skipped);
        }
        context.terminal.done(verb, &told);
    }
}

/// The rows of a file, parsed into entries.
struct Parsed<'r, 'p, T> {
    rows: Rows<'r>,
    /// Parses a row. `None` is a row that is skipped.
    parse: &'p mut dyn FnMut(Row) -> Result<Option<T>, String>,
}

impl<T> Entries<T> for Parsed<'_, '_, T> {
    fn next(&mut self) -> Result<Option<Line<T>>, pdkeys::Error> {
        while let Some((number, row)) = self.rows.next()? {
            if let Some(entry) = row.and_then(&mut self.parse).transpose() {
                return Ok(Some(Line { number, entry }));
            }
        }
        Ok(None)
    }

    fn sha256(&self) -> [u8; 32] {
        self.rows.sha256()
    }
}

/// Returns the cells of a row, whose number is known.
fn cells<const COLUMNS: usize>(row: Row) -> Result<[Option<Zeroizing<String>>; COLUMNS], String> {
    row.try_into().map_err(|_| "has another number of columns".to_owned())
}

/// Returns what is wrong with a value, in a message that does not repeat it.
fn wrong(error: &pdkeys::model::Error) -> String {
    error.to_string()
}

fn key_entry(row: Row) -> Result<KeyEntry, String> {
    let [kind, secret, digest, description, access, owner, created_at, expires_at] = cells(row)?;
    refuse_blanks([
        ("kind", &kind),
        ("secret", &secret),
        ("digest", &digest),
        ("access", &access),
        ("created_at", &created_at),
        ("expires_at", &expires_at),
    ])?;
    let kind: CredentialKind = needed("kind", kind.as_ref())?
        .parse()
        .map_err(|_| "kind: must be general, user-token or integration".to_owned())?;
    let material = match (secret, digest) {
        (Some(mut secret), None) => Material::Secret(Secret::presented(std::mem::take(&mut *secret))),
        (None, Some(digest)) => Material::Sha256(sha256(&digest)?),
        (None, None) => return Err("secret: neither that nor its digest is there".to_owned()),
        (Some(_), Some(_)) => return Err("secret: either that or its digest, and not both".to_owned()),
    };
    let description = needed("description", description.as_ref())?;
    let created_at = created_at.map(|text| parse_time("created_at", &text)).transpose();
    let expires_at = expires_at.map(|text| parse_end_time("expires_at", &text)).transpose();
    Ok(KeyEntry {
        kind,
        material,
        description: Label::parse("description", description).map_err(|error| wrong(&error))?,
        access: access_of(kind, access.as_ref().map(|text| text.as_str()))?,
        owner: owner.map(|text| text.trim().to_owned()),
        created_at: created_at.map_err(|error| wrong(&error))?,
        expires_at: expires_at.map_err(|error| wrong(&error))?.flatten(),
    })
}

/// Parses a user. Returns `None` for users of an export that are skipped: those who have left, and its owner, since each
/// account has its own.
fn user_entry(row: Row) -> Result<Option<UserEntry>, String> {
    let [name, email, role, os_uid, external_id, rate_limit, status, ..]: [_; USER_COLUMNS.len()] =
        cells(row)?;
    refuse_blanks([("role", &role), ("os_uid", &os_uid), ("rate_limit", &rate_limit), ("status", &status)])?;
    let name = needed("name", name.as_ref())?;
    let role = needed("role", role.as_ref())?;
    let role: Role =
        role.parse().map_err(|_| "role: must be one of the eight, such as limited_user".to_owned())?;
    match status.as_ref().map(|status| status.as_str()) {
        Some("left") => return Ok(None),
        Some("active") if role == Role::Owner => return Ok(None),
        Some("active") | None => {}
        Some(_) => return Err("status: must be active or left".to_owned()),
    }
    let label = |what, text: Option<Zeroizing<String>>| {
        text.map(|text| Label::parse(what, &text)).transpose().map_err(|error| wrong(&error))
    };
    Ok(Some(UserEntry {
        name: Name::parse(Noun::User, name).map_err(|error| wrong(&error))?,
        email: label("email", email)?,
        role,
        os_uid: os_uid
            .map(|uid| uid.parse())
            .transpose()
            .map_err(|_| "os_uid: must be the number of an operating-system user".to_owned())?,
        external_id: label("external id", external_id)?,
        rate_limit: rate_limit.map(|limit| limit.parse()).transpose().map_err(|error| wrong(&error))?,
    }))
}

/// Refuses spaces around an exact value. They would not be seen in the file.
fn refuse_blanks<const CELLS: usize>(
    cells: [(&str, &Option<Zeroizing<String>>); CELLS],
) -> Result<(), String> {
    let padded =
        cells.iter().find(|(_, cell)| cell.as_ref().is_some_and(|cell| cell.trim() != cell.as_str()));
    padded.map_or(Ok(()), |(what, _)| Err(format!("{what}: blanks stand around it")))
}

fn needed<'t>(what: &str, text: Option<&'t Zeroizing<String>>) -> Result<&'t str, String> {
    text.map(|text| text.as_str()).ok_or_else(|| format!("{what}: is missing"))
}

fn access_of(kind: CredentialKind, text: Option<&str>) -> Result<Access, String> {
    let scopes = |text: &str| text.parse::<ScopeSet>().ok().filter(|scopes| scopes.iter().next().is_some());
    let access = match (kind, text.map(|text| text.split_at_checked("scopes:".len()).unwrap_or((text, "")))) {
        (CredentialKind::UserToken, None | Some(("role", ""))) => Some(Access::Role(None)),
        (CredentialKind::UserToken, Some(("scopes:", list))) => {
            scopes(list).map(|scopes| Access::Role(Some(scopes)))
        }
        (CredentialKind::General, Some(("scopes:", list))) => scopes(list).map(Access::Scopes),
        (CredentialKind::General, _) if text == Some("read-only") => Some(Access::ReadOnly),
        (CredentialKind::General, Some(("full", ""))) => Some(Access::Full),
        (CredentialKind::Integration | CredentialKind::AppToken, None | Some(("full", ""))) => {
            Some(Access::Full)
        }
        _ => None,
    };
    access.ok_or_else(|| {
        match kind {
            CredentialKind::General => {
                "access: must be full, read-only, or scopes: and scopes such as incidents.read"
            }
            CredentialKind::UserToken => "access: must be role, or scopes: and scopes such as incidents.read",
            CredentialKind::Integration | CredentialKind::AppToken => "access: must be full, or nothing",
        }
        .to_owned()
    })
}

/// Parses a SHA-256, in hexadecimal or in any kind of base64.
fn sha256(text: &str) -> Result<Fingerprint, String> {
    const ENGINES: [GeneralPurpose; 4] =
        [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD];
    let decoded = |bytes: Zeroizing<Vec<u8>>| <[u8; 32]>::try_from(bytes.as_slice()).ok();
    let bytes = match hexadecimal(text) {
        Some(bytes) => Some(bytes),
        None => ENGINES.iter().find_map(|engine| decoded(Zeroizing::new(engine.decode(text).ok()?))),
    };
    bytes.map(Fingerprint::of_sha256).ok_or_else(|| {
        "digest: must be the 32 bytes of a SHA-256, in 64 hexadecimal digits or in base64".to_owned()
    })
}

fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        // Number parsers would accept a sign too.
        if !pair.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_in_hexadecimal_and_in_every_base64() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 8 + 7).unwrap());
        let hex = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let expected = Fingerprint::of_sha256(bytes);
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            BASE64_STANDARD.encode(bytes),
            BASE64_STANDARD_NO_PAD.encode(bytes),
            BASE64_URL_SAFE.encode(bytes),
            BASE64_URL_SAFE_NO_PAD.encode(bytes),
        ] {
            assert!(sha256(&text).unwrap() == expected, "{text}");
        }
        for text in
            ["", "00", &hex[1..], &format!("+{}", &hex[1..]), &BASE64_STANDARD.encode(&bytes[1..]), "é"]
        {
            assert!(sha256(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_says_no_access_has_none() {
        use CredentialKind::{General, Integration, UserToken};
        for (kind, text) in [
            (General, None),
            (General, Some("")),
            (General, Some("role")),
            (General, Some("Full")),
            (General, Some("fullx")),
            (General, Some("scopes:")),
            (General, Some("scopes: ")),
            (General, Some("scopes:everything")),
            (UserToken, Some("full")),
            (UserToken, Some("scopes:")),
            (Integration, Some("read-only")),
        ] {
            assert!(access_of(kind, text).is_err(), "{kind} {text:?}");
        }
        assert_eq!(access_of(General, Some("read-only")).unwrap(), Access::ReadOnly);
        assert_eq!(access_of(UserToken, None).unwrap(), Access::Role(None));
        let scopes = || "incidents.read services.read".parse().unwrap();
        assert_eq!(
            access_of(General, Some("scopes:incidents.read services.read")).unwrap(),
            Access::Scopes(scopes())
        );
        assert_eq!(
            access_of(UserToken, Some("scopes: incidents.read  services.read")).unwrap(),
            Access::Role(Some(scopes()))
        );
    }
}
