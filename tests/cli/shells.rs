//! Completion in the shells themselves, each through a real pseudo-terminal: what the line would run after the key was
//! pressed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use expectrl::session::OsSession;
use expectrl::{Expect as _, Regex};

use crate::session::{Machine, pdkeys};

/// A character of each meaning that a shell gives to one, after a letter that tells the names apart.
const NAMES: [&str; 21] = [
    "a blank",
    "b'quote",
    "c;semicolon",
    "d:colon",
    "e`touch ran`",
    "f!bang",
    "g\"quote",
    "h$(touch ran)",
    "i\\backslash",
    "j*",
    "k=equal",
    "l\u{fc}ber gr\u{f6}\u{df}e",
    "m~",
    "n&touch ran|cat",
    "o{1,2}",
    "p#hash",
    "q  two",
    "r>ran",
    "y[a-z]?",
    "t'",
    "v$HOME",
];

const PROMPT: &str = "READY> ";

/// A shell that waits for a line, with pdkeys and its completion script.
struct AtShell {
    session: OsSession,
    is_elvish: bool,
}

impl AtShell {
    fn start(machine: &Machine, shell: &str) -> Self {
        let bin = machine.file("bin");
        if !bin.exists() {
            fs::create_dir(&bin).unwrap();
            symlink(pdkeys(), bin.join("pdkeys")).unwrap();
            let args = bin.join("args");
            fs::write(&args, "#!/bin/sh\nprintf 'ARGS'; printf '<%s>' \"$@\"; echo ' END'\n").unwrap();
            fs::set_permissions(&args, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let script = machine.run(["completions", shell]).must_succeed().stdout;
        let write = |name: &str, text: &str| fs::write(machine.file(name), text).unwrap();
        match shell {
            "bash" => write("rc", &format!("{script}\nPS1='{PROMPT}'\n")),
            "zsh" => {
                write("bin/_pdkeys", &script);
                write(
                    ".zshrc",
                    &format!(
                        "fpath=({} $fpath)\nautoload -U compinit\ncompinit -u -D\nbindkey -e\nPS1='{PROMPT}'\n",
                        bin.display()
                    ),
                );
            }
            "fish" => write("rc", &format!("{script}\nfunction fish_prompt; echo -n '{PROMPT}'; end\n")),
            _ => write(
                "rc",
                &format!("{script}\nset edit:prompt = {{ put '{PROMPT}' }}\nset edit:rprompt = {{ }}\n"),
            ),
        }
        let start = match shell {
            "bash" => "exec bash --rcfile rc -i",
            "zsh" => "exec zsh -d -i",
            "fish" => "exec fish --no-config --init-command 'source rc'",
            _ => "exec elvish -rc rc",
        };
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let mut command: Command = machine.shell(&format!("stty cols 200 rows 40; {start}"));
        command.env("TERM", "xterm").env("PATH", path).env("LC_ALL", "C.UTF-8").stdin(Stdio::inherit());
        let mut session = OsSession::spawn(command).unwrap();
        session.set_expect_timeout(Some(Duration::from_secs(30)));
        session.expect(PROMPT).unwrap();
        Self { session, is_elvish: shell == "elvish" }
    }

    /// Types the beginning of a line and presses TAB, and gives the arguments that the line would run with.
    fn complete(&mut self, typed: &str) -> Vec<String> {
        self.session.send(format!("pdkeys {typed}\t")).unwrap();
        if self.is_elvish {
            // It goes on reading keys while it waits for the candidates, and shows even a single one in a menu.
            self.session.expect("COMPLETING").unwrap();
            self.session.send("\r").unwrap();
        }
        // To the beginning of the line, where another program takes the place of the completed one.
        let home_key = if self.is_elvish { "\u{1b}[H" } else { "\u{1}" };
        self.session.send(format!("{home_key}args \r")).unwrap();
        let found = self
            .session
            .expect(Regex("ARGS<pdkeys>(.*?) END"))
            .unwrap_or_else(|error| panic!("{typed}: {error}"));
        let found = String::from_utf8_lossy(found.get(1).unwrap()).into_owned();
        self.session.expect(PROMPT).unwrap();
        let inner = found.trim_start_matches('<').trim_end_matches('>');
        inner.split("><").map(str::to_owned).collect()
    }
}

/// Those that are installed, which are all of them where the tests' own script ran.
fn installed<const N: usize>(shells: [&'static str; N]) -> impl Iterator<Item = &'static str> {
    shells.into_iter().filter(|shell| Path::new("/usr/bin").join(shell).exists())
}

/// The shells that take the place of the completed word without being waited for.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

fn with_names() -> Machine {
    let machine = Machine::with_store();
    for name in NAMES {
        machine.run(["service", "create", name]).must_succeed();
    }
    machine
}

#[test]
fn every_name_completes_to_one_argument_which_is_the_name() {
    let machine = with_names();
    for shell in installed(SHELLS) {
        let mut at = AtShell::start(&machine, shell);
        for name in NAMES {
            let letter = &name[..1];
            assert_eq!(at.complete(&format!("service show {letter}")), ["service", "show", name], "{shell}");
        }
        assert!(!machine.file("ran").exists(), "{shell} ran a name");
    }
    for shell in installed(["elvish"]) {
        let mut at = AtShell::start(&machine, shell);
        for name in ["a blank", "b'quote", "c;semicolon", "h$(touch ran)"] {
            let letter = &name[..1];
            assert_eq!(at.complete(&format!("service show {letter}")), ["service", "show", name], "{shell}");
        }
        assert!(!machine.file("ran").exists(), "{shell} ran a name");
    }
}

#[test]
fn a_quotation_that_is_begun_is_gone_on_with() {
    let machine = with_names();
    for shell in installed(SHELLS) {
        let mut at = AtShell::start(&machine, shell);
        for name in NAMES {
            let letter = &name[..1];
            for typed in [format!("service show '{letter}"), format!("service show \"{letter}")] {
                assert_eq!(at.complete(&typed), ["service", "show", name], "{shell}: {typed}");
            }
        }
        assert!(!machine.file("ran").exists(), "{shell} ran a name");
    }
}

#[test]
fn a_word_is_completed_behind_what_breaks_it() {
    let machine = with_names();
    let cases: [(&str, &[&str]); 7] = [
        ("list --status=dis", &["list", "--status=disabled"]),
        ("list -o js", &["list", "-o", "json"]),
        ("service show d:", &["service", "show", "d:colon"]),
        ("service show k=e", &["service", "show", "k=equal"]),
        ("integration list --service=a", &["integration", "list", "--service=a blank"]),
        ("service show a\\ b", &["service", "show", "a blank"]),
        ("service show q\\ ", &["service", "show", "q  two"]),
    ];
    for shell in installed(SHELLS) {
        let mut at = AtShell::start(&machine, shell);
        for (typed, completed) in cases {
            let found = at.complete(typed);
            assert_eq!(found[..completed.len() - 1], completed[..completed.len() - 1], "{shell}: {typed}");
            assert!(
                completed.last().unwrap().starts_with(found.last().unwrap().as_str()),
                "{shell}: {typed}: {found:?}"
            );
            if typed != "list -o js" {
                assert_eq!(found, completed, "{shell}: {typed}");
            }
        }
    }
}

#[test]
fn whatever_has_a_name_completes_to_it() {
    let machine = Machine::with_store();
    let name = "web $(touch ran)";
    machine.run(["user", "add", name, "--role", "admin"]).must_succeed();
    machine.run(["app", "register", name, "--scope", "incidents.read"]).must_succeed();
    machine.run(["service", "create", name]).must_succeed();
    machine.run(["orchestration", "create", name]).must_succeed();
    for shell in installed(SHELLS) {
        let mut at = AtShell::start(&machine, shell);
        for line in [
            "user show",
            "user edit",
            "user remove",
            "account transfer",
            "token list --user",
            "whoami --as",
            "app show",
            "app rotate",
            "app token",
            "service remove",
            "orchestration show",
            "integration list --service",
            "integration list --orchestration",
            "integration move I --service",
        ] {
            let expected: Vec<_> = line.split(' ').chain([name]).collect();
            assert_eq!(at.complete(&format!("{line} we")), expected, "{shell}");
        }
        assert!(!machine.file("ran").exists(), "{shell} ran a name");
    }
}

#[test]
fn files_complete_as_the_shell_completes_them() {
    let machine = Machine::with_store();
    fs::create_dir(machine.file("my directory")).unwrap();
    fs::write(machine.file("my directory/a file"), "").unwrap();
    fs::write(machine.file("plain.db"), "").unwrap();
    let home = machine.home().to_str().unwrap();
    let cases: [(&str, &[&str]); 6] = [
        ("whoami --store pl", &["whoami", "--store", "plain.db"]),
        ("whoami --store=pl", &["whoami", "--store=plain.db"]),
        ("whoami --store ~/pl", &["whoami", "--store", &format!("{home}/plain.db")]),
        ("whoami --store my\\ directory/", &["whoami", "--store", "my directory/a file"]),
        ("scan my", &["scan", "my directory/"]),
        ("man my", &["man", "my directory/"]),
    ];
    for shell in installed(SHELLS) {
        let mut at = AtShell::start(&machine, shell);
        for (typed, completed) in cases {
            let found: Vec<_> =
                at.complete(typed).iter().map(|word| word.trim_end_matches('/').to_owned()).collect();
            let completed: Vec<_> = completed.iter().map(|word| word.trim_end_matches('/')).collect();
            assert_eq!(found, completed, "{shell}: {typed}");
        }
    }
}

#[test]
fn what_no_name_can_be_is_not_offered() {
    let machine = Machine::with_store();
    let complete = |typed: &str| {
        let line = format!("pdkeys service remove {typed}");
        machine.finish(machine.command(["--", &line, "", typed]).env("_PDKEYS_COMPLETE", "bash"))
    };
    for name in ["--yes please", "-y please"] {
        machine.run(["service", "create", "web"]).must_succeed();
        assert!(complete("w").stdout.contains("web"));
        machine.sql().execute("UPDATE destination SET name = ?1", [name]).unwrap();
        for typed in ["w", "-"] {
            let ran = complete(typed);
            assert!(!ran.stdout.contains("please"), "{ran}");
        }
        machine.sql().execute("DELETE FROM destination", []).unwrap();
    }
}

#[test]
fn a_store_that_is_locked_is_not_waited_for() {
    let machine = with_names();
    for file in [machine.store(), machine.file("pdkeys/pdkeys.usage.db")] {
        let holder = rusqlite::Connection::open(&file).unwrap();
        holder.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
        holder.execute_batch("BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS held (x)").unwrap();
        let before = Instant::now();
        let mut asked = machine.command(["--", "pdkeys service show a", "", "a"]);
        let ran = machine.finish(asked.env("_PDKEYS_COMPLETE", "bash"));
        let took = before.elapsed();
        assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{ran}");
        assert!(took < Duration::from_secs(1), "{}: {took:?}", file.display());
        drop(holder);
    }
}
