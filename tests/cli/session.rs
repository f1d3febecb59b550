//! A machine with nothing on it, the commands that are run there, and what they come to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;

use jiff::Timestamp;
use regex::{Captures, Regex};
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) fn pdkeys() -> &'static Path {
    assert_cmd::cargo::cargo_bin!("pdkeys")
}

/// An operating-system user that no machine has, for users of the account to be mapped to.
pub(crate) const SOMEBODY: u32 = 61_234;
/// Another.
pub(crate) const SOMEBODY_ELSE: u32 = 61_235;

/// A machine: a home directory of its own, and an environment with nothing in it but that.
#[must_use]
pub(crate) struct Machine {
    home: TempDir,
    variables: BTreeMap<String, String>,
    seen: RefCell<Seen>,
}

/// What came by that is another in every run, in the order in which it came.
#[derive(Default)]
struct Seen {
    ids: Vec<String>,
    secrets: Vec<String>,
}

impl Machine {
    /// One on which pdkeys was never used.
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new()
            .prefix("pdkeys-cli-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .unwrap();
        let text = home.path().to_str().unwrap().to_owned();
        let variables = [("HOME", text.clone()), ("XDG_DATA_HOME", text)]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        Self { home, variables, seen: RefCell::default() }
    }

    /// One with a store, whose Account Owner is called `ann` and is whoever runs the tests.
    pub(crate) fn with_store() -> Self {
        let machine = Self::new();
        machine.run(["init", "acme", "--owner", "ann"]).must_succeed();
        machine
    }

    /// One with a store and users: `adam` (admin), `uma` (user), `otto` (observer), `rita` (`restricted_access`),
    /// and an admin `sam` who is the operating-system user [`SOMEBODY`].
    pub(crate) fn with_users() -> Self {
        let machine = Self::with_store();
        let somebody = SOMEBODY.to_string();
        for (name, role) in
            [("adam", "admin"), ("uma", "user"), ("otto", "observer"), ("rita", "restricted_access")]
        {
            machine.run(["user", "add", name, "--role", role]).must_succeed();
        }
        machine.run(["user", "add", "sam", "--role", "admin", "--os-user", &somebody]).must_succeed();
        machine
    }

    /// The same machine, with a variable in the environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same machine, without a variable in the environment.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// The home directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A file in the home directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    /// The directory of the store at the default place.
    pub(crate) fn directory(&self) -> PathBuf {
        self.file("pdkeys")
    }

    /// The store at the default place.
    pub(crate) fn store(&self) -> PathBuf {
        self.file("pdkeys/pdkeys.db")
    }

    /// The store key beside it.
    pub(crate) fn store_key(&self) -> PathBuf {
        self.file("pdkeys/pdkeys.storekey")
    }

    /// A command that is not yet run.
    pub(crate) fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(pdkeys());
        command.args(arguments);
        self.at_home(&mut command);
        command
    }

    /// A command of a shell that is not yet run; `$pdkeys` is the program.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        self.at_home(&mut command);
        command.env("pdkeys", pdkeys()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// The same as another operating-system user, through a descriptor, lest the program lie where that user may
    /// not look.
    pub(crate) fn command_of<'a>(&self, uid: u32, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.shell(&format!(
            "exec 9<\"$pdkeys\"; exec setpriv --reuid={uid} --regid={uid} --clear-groups /proc/self/fd/9 \"$@\""
        ));
        command.arg("sh").args(arguments);
        command
    }

    fn at_home(&self, command: &mut Command) {
        command.env_clear().envs(&self.variables).current_dir(self.home()).stdin(Stdio::null());
    }

    /// Runs a command without a terminal.
    #[must_use]
    pub(crate) fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran<'_> {
        self.finish(&mut self.command(arguments))
    }

    /// Runs a script of a shell.
    #[must_use]
    pub(crate) fn run_shell(&self, script: &str) -> Ran<'_> {
        self.finish(&mut self.shell(script))
    }

    /// Runs a command as another operating-system user. Ask [`can_be_others`] first.
    #[must_use]
    pub(crate) fn run_as<'a>(&self, uid: u32, arguments: impl IntoIterator<Item = &'a str>) -> Ran<'_> {
        self.finish(&mut self.command_of(uid, arguments))
    }

    /// Runs a command the way sudo would for another operating-system user.
    #[must_use]
    pub(crate) fn run_sudo<'a>(&self, uid: &str, arguments: impl IntoIterator<Item = &'a str>) -> Ran<'_> {
        self.finish(self.command(arguments).env("SUDO_UID", uid))
    }

    /// Runs what was prepared.
    #[must_use]
    pub(crate) fn finish(&self, command: &mut Command) -> Ran<'_> {
        self.ran(command.output().unwrap())
    }

    /// What came of a command.
    #[must_use]
    pub(crate) fn ran(&self, output: Output) -> Ran<'_> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Ran {
            machine: self,
            status: output.status,
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        self.seen.borrow_mut().notice_secrets(&ran.stdout);
        ran
    }

    /// Makes a key, and gives its id and its secret.
    pub(crate) fn make_key(&self, description: &str, options: &[&str]) -> (String, String) {
        let arguments = ["create", description, "-o", "json"].into_iter().chain(options.iter().copied());
        let made = self.run(arguments).must_succeed().json();
        (text_of(&made, "id"), text_of(&made, "secret"))
    }

    /// Makes a token for a user, and gives its id and its secret.
    pub(crate) fn make_token(&self, user: &str, description: &str, options: &[&str]) -> (String, String) {
        let arguments = ["token", "create", description, "-o", "json", "--as", user];
        let made = self.run(arguments.into_iter().chain(options.iter().copied())).must_succeed().json();
        let secret = text_of(&made, "secret");
        assert_token(&secret);
        (text_of(&made, "id"), secret)
    }

    /// Makes an integration into a `service` or an `orchestration`, and gives its id and its key.
    pub(crate) fn make_integration(&self, noun: &str, of: &str, name: &str) -> (String, String) {
        let into = format!("--{noun}={of}");
        let arguments =
            ["integration", "create", &into, "--type", "events-api-v2", "--name", name, "-o", "json"];
        let made = self.run(arguments).must_succeed().json();
        (text_of(&made, "id"), text_of(&made, "secret"))
    }

    /// Runs a command with a user token in the environment.
    #[must_use]
    pub(crate) fn run_with_token<'a>(
        &self,
        token: &str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Ran<'_> {
        self.finish(self.command(arguments).env("PDKEYS_TOKEN", token))
    }

    /// The text with what is another in every run taken out.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut seen = self.seen.borrow_mut();
        seen.notice_secrets(text);
        seen.redact(&text.replace(self.home().to_str().unwrap(), "[HOME]"))
    }

    /// The store, opened behind the program's back.
    pub(crate) fn sql(&self) -> Connection {
        Connection::open(self.store()).unwrap()
    }

    /// All that is in the store.
    pub(crate) fn dump(&self) -> String {
        dump(&self.sql())
    }

    /// How many rows a table of the store has.
    pub(crate) fn count(&self, table: &str) -> u64 {
        self.sql().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    /// Gives the whole home directory to another operating-system user.
    pub(crate) fn give_to(&self, uid: u32) {
        chown(self.home(), Some(uid), Some(uid)).unwrap();
        for path in files_below(self.home()) {
            chown(path, Some(uid), Some(uid)).unwrap();
        }
    }

    /// Runs a command that is to fail, and asserts that it changed nothing in the store.
    #[track_caller]
    #[must_use]
    pub(crate) fn refuses<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran<'_> {
        self.unchanged(|| self.run(arguments))
    }

    /// Asserts that nothing in the store is another after `act`.
    #[track_caller]
    pub(crate) fn unchanged<T>(&self, act: impl FnOnce() -> T) -> T {
        let before = self.dump();
        let done = act();
        assert_eq!(before, self.dump(), "the store changed");
        done
    }
}

/// What came of a command. It prints as one text with all three: exit code, standard output, standard error.
pub(crate) struct Ran<'m> {
    machine: &'m Machine,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran<'_> {
    /// The exit code.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status.code().expect("it was killed")
    }

    /// The same, after it was seen to have gone well.
    #[track_caller]
    pub(crate) fn must_succeed(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// The same, after it was seen to have ended with a code.
    #[track_caller]
    pub(crate) fn must_exit(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Standard output without the line end that it must have.
    #[track_caller]
    pub(crate) fn line(&self) -> &str {
        let line = self.stdout.strip_suffix('\n').expect("a line");
        assert!(!line.contains('\n'), "one line: {line:?}");
        line
    }
}

impl fmt::Display for Ran<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status.code() {
            Some(code) => writeln!(f, "exit: {code}")?,
            None => writeln!(f, "killed: {}", self.status)?,
        }
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            writeln!(f, "--- {name}")?;
            let text = self.machine.redact(text);
            f.write_str(&text)?;
            if !text.is_empty() && !text.ends_with('\n') {
                writeln!(f, "(no line end)")?;
            }
        }
        Ok(())
    }
}

/// A field of an object that is text.
#[track_caller]
pub(crate) fn text_of(object: &serde_json::Value, field: &str) -> String {
    object[field].as_str().unwrap_or_else(|| panic!("no text {field} in {object}")).to_owned()
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

static SECRET_LINE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?m)^([A-Za-z0-9][A-Za-z0-9_-]{18}[A-Za-z0-9]|u\+[A-Za-z0-9_-]{17}[A-Za-z0-9])\r?$")
});
/// An integration key, which is shown in lists too.
static VISIBLE_KEY: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b([0-9a-f]{32}|R[0-9A-Z]{31})\b"));
static SECRET_FIELD: LazyLock<Regex> = LazyLock::new(|| pattern(r#""secret":\s*"([^"]*)""#));
static ID: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b[KTAUSOI][0-9A-HJKMNP-TV-Z]{8}\b"));
static TIME: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"));
static CHAIN: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b(\d+):[0-9a-f]{64}\b"));
static REQUEST: LazyLock<Regex> = LazyLock::new(|| pattern(r#"("request_id":\s*)"([^"]*)""#));
static OWNERS_UID: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?m)(\bann +(?:owner|admin) +\S+ +|name: ann, role: owner, os_uid: |"name":"ann",.*"os_uid":)(\d+)\b( *)"#,
    )
});

/// A secret of a general key: exactly 20 characters of its alphabet, the first and the last alphanumeric.
#[track_caller]
pub(crate) fn assert_secret(secret: &str) {
    let is_general = SECRET_LINE.is_match(secret) && secret.len() == 20 && !secret.contains('+');
    assert!(is_general, "no secret of a general key: {secret:?}");
}

/// A secret of a user token: `u+` and 18 characters of the alphabet, the last alphanumeric.
#[track_caller]
pub(crate) fn assert_token(secret: &str) {
    assert!(SECRET_LINE.is_match(secret) && secret.starts_with("u+"), "no secret of a token: {secret:?}");
}

/// The key of an integration into a service: 32 lower-case hexadecimal characters.
#[track_caller]
pub(crate) fn assert_service_key(key: &str) {
    assert!(VISIBLE_KEY.is_match(key) && key.len() == 32 && !key.starts_with('R'), "no such key: {key:?}");
}

/// The key of an integration into an orchestration: `R` and 31 upper-case letters and digits.
#[track_caller]
pub(crate) fn assert_orchestration_key(key: &str) {
    assert!(VISIBLE_KEY.is_match(key) && key.len() == 32 && key.starts_with('R'), "no such key: {key:?}");
}

impl Seen {
    fn notice_secrets(&mut self, text: &str) {
        for regex in [&SECRET_LINE, &SECRET_FIELD, &VISIBLE_KEY] {
            for found in regex.captures_iter(text) {
                let secret = &found[1];
                assert!(
                    SECRET_LINE.is_match(secret) || VISIBLE_KEY.is_match(secret),
                    "of no secret's shape: {secret:?}"
                );
                if !self.secrets.iter().any(|known| known == secret) {
                    self.secrets.push(secret.to_owned());
                }
            }
        }
    }

    fn redact(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (number, secret) in (1..).zip(&self.secrets) {
            text = text.replace(secret, &format!("[SECRET {number}]"));
            let hint = &secret[secret.len() - 4..];
            // A hint that a spreadsheet would compute has a quote before it in CSV.
            text = text.replace(&format!(",'{hint},"), &format!(",{hint},"));
            text = replace_word(&text, hint, &format!("[HINT {number}]"));
        }
        let text = ID.replace_all(&text, |found: &Captures<'_>| self.name_id(&found[0]));
        let text = TIME.replace_all(&text, |found: &Captures<'_>| name_time(&found[0]));
        let text = CHAIN.replace_all(&text, "$1:[CHAIN]");
        let text = REQUEST.replace_all(&text, |found: &Captures<'_>| {
            let id = &found[2];
            assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "request id {id:?}");
            format!("{}\"[REQUEST]\"", &found[1])
        });
        let text = OWNERS_UID.replace_all(&text, |found: &Captures<'_>| {
            assert_eq!(found[2].parse(), Ok(own_uid()), "the owner is whoever runs the tests");
            // What fills a column up goes too, since it depends on how long the number is.
            format!("{}[UID]{}", &found[1], if found[3].is_empty() { "" } else { "  " })
        });
        text.into_owned()
    }

    /// The noun's letter and the number of the id among those of its noun.
    fn name_id(&mut self, id: &str) -> String {
        if !self.ids.iter().any(|known| known == id) {
            self.ids.push(id.to_owned());
        }
        let letter = &id[..1];
        let number = self.ids.iter().filter(|known| known.starts_with(letter)).position(|known| known == id);
        format!("[{letter}{}]", number.unwrap() + 1)
    }
}

/// Times of the last minute, and those that lie whole hours of up to a year after one; any other stays.
fn name_time(text: &str) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const YEAR: i64 = 366 * 24 * HOUR;
    // What messages give as an example lies whole hours ahead too, at every full hour.
    const EXAMPLE: &str = "2027-01-31T12:00:00Z";
    if text == EXAMPLE {
        return text.to_owned();
    }
    let moment: Timestamp = text.parse().unwrap();
    let since = now().duration_since(moment).as_secs();
    if (-1..=MINUTE).contains(&since) {
        return "[NOW]".to_owned();
    }
    let ahead = -since + MINUTE;
    if since < 0 && ahead <= YEAR && ahead % HOUR <= MINUTE {
        return format!("[NOW + {}h]", ahead / HOUR);
    }
    text.to_owned()
}

/// The time, by the clock that the program has too.
#[expect(clippy::disallowed_methods, reason = "what the program printed is compared with the real time")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Replaces a word where it stands alone.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    let is_part =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    let mut replaced = String::new();
    let mut from = 0;
    for (at, _) in text.match_indices(word) {
        let (before, after) = (&text.as_bytes()[..at], &text.as_bytes()[at + word.len()..]);
        if at >= from && !is_part(before.last()) && !is_part(after.first()) {
            write!(replaced, "{}{with}", &text[from..at]).unwrap();
            from = at + word.len();
        }
    }
    replaced + &text[from..]
}

/// Every row of every table, in an order of its own.
pub(crate) fn dump(connection: &Connection) -> String {
    let mut text = String::new();
    let mut names =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for name in names {
        writeln!(text, "{name}").unwrap();
        let mut rows = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<Value> = (0..columns).map(|at| row.get(at).unwrap()).collect();
            writeln!(text, "  {values:?}").unwrap();
        }
    }
    text
}

/// Every file and directory below a directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

/// The names of what is in a directory.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The operating-system user who runs the tests.
pub(crate) fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Whether commands can be run as other operating-system users: root can, through `setpriv`.
pub(crate) fn can_be_others() -> bool {
    own_uid() == 0 && Path::new("/usr/bin/setpriv").exists()
}

/// The permission bits of a file.
pub(crate) fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Sets the permission bits of a file.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
