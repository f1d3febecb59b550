//! README.md, done as it says: every step of its `console` blocks runs in one shell, in one home directory, without a
//! terminal, and prints what stands there.
//!
//! What varies is compared by its shape. What is one thing in the README, an id or a secret or a hint, must be one
//! thing here, and stands for it in the commands that follow.
//!
//! The part about gateways has a test of its own: there the shown configurations run too, on ports that are free.

#![expect(clippy::panic, clippy::unwrap_used, reason = "what a test needs and cannot get fails the test")]

#[cfg(target_os = "linux")]
#[path = "gateways/installed.rs"]
mod installed;
#[cfg(target_os = "linux")]
#[path = "gateways/process.rs"]
mod process;
#[cfg(target_os = "linux")]
#[path = "gateways/programs.rs"]
mod programs;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use regex::{Captures, Regex};
use rustix::process::{Pid, Signal};

/// A fenced block, the section that it stands in, and the number of its first line inside.
struct Block {
    section: String,
    language: String,
    line: usize,
    lines: Vec<String>,
}

fn in_repository(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    let mut section = String::new();
    for (number, line) in in_repository("README.md").lines().enumerate() {
        if let (Some(title), false) = (line.strip_prefix("## "), inside) {
            title.clone_into(&mut section);
        }
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => {
                let (section, language) = (section.clone(), language.to_owned());
                blocks.push(Block { section, language, line: number + 2, lines: Vec::new() });
                inside = true;
            }
            (Some(_), true) => inside = false,
            (None, true) => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            (None, false) => {}
        }
    }
    assert!(!inside, "the last block of README.md does not end");
    blocks
}

/// A command, and what it is to print.
struct Step {
    line: usize,
    command: String,
    printed: Vec<String>,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in block.lines.iter().enumerate() {
        let at = block.line + index;
        match line.strip_prefix("$ ") {
            Some(command) => {
                steps.push(Step { line: at, command: command.to_owned(), printed: Vec::new() });
            }
            None => match steps.last_mut() {
                Some(step) => step.printed.push(line.clone()),
                None => panic!("README.md:{at}: printed, but by no command"),
            },
        }
    }
    steps
}

/// The shell of whoever follows the README.
struct Shell {
    bash: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

const END: &str = "@@ the end of a step";

impl Shell {
    fn new(home: &Path) -> Self {
        let programs = Path::new(env!("CARGO_BIN_EXE_pdkeys")).parent().unwrap();
        let mut bash = Command::new("bash")
            .env_clear()
            .env("HOME", home)
            .env("LC_ALL", "C")
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .current_dir(home)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = bash.stdin.take().unwrap();
        let output = BufReader::new(bash.stdout.take().unwrap());
        // One pipe for both, so that what is printed comes in the order in which it is printed.
        writeln!(input, "exec 2>&1; LAST=0").unwrap();
        Self { bash, input, output }
    }

    /// Runs a command, gives it nothing to read, and gives the lines that it printed.
    fn run(&mut self, command: &str) -> Vec<String> {
        // Each step finds in `$?` how the one before ended.
        write!(self.input, "(exit $LAST)\n{{ {command}\n}} </dev/null\nLAST=$?; printf '\\n%s\\n' '{END}'\n")
            .unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the shell ended in: {command}");
            let line = line.trim_end_matches('\n');
            if line == END {
                break;
            }
            lines.push(line.to_owned());
        }
        assert_eq!(lines.pop().as_deref(), Some(""), "{command}: does not end its last line");
        lines
    }

    /// How the last step ended.
    fn last(&mut self) -> String {
        self.run("echo $?").concat()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The steps are over, and the shell may go, and with it what it runs in the background.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.bash), Signal::KILL);
        let _ = self.bash.wait();
    }
}

/// What differs from run to run: what it is called in a comparison, and its shape as the group `v`, with as much around
/// it as tells what it is. The earlier of two that overlap counts.
const VARYING: &[(&str, &str)] = &[
    ("client secret", r"(?P<v>\bpdcs_[A-Za-z0-9_-]{43})(?:$|\x22)"),
    ("app token", r"(?P<v>\bpdus\+_0[A-Z0-9]{6}_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:$|\x22)"),
    ("user token", r"(?:^|\x22)(?P<v>u\+[A-Za-z0-9_-]{17}[A-Za-z0-9])(?:$|\x22)"),
    ("general key", r"(?:^|\x22secret\x22:\x22)(?P<v>[A-Za-z0-9][A-Za-z0-9_-]{18}[A-Za-z0-9])(?:$|\x22)"),
    ("head", r"^\d+:(?P<v>[0-9a-f]{64})$"),
    ("integration key", r"(?:^|[ \x22])(?P<v>[0-9a-f]{32}|R[A-Z0-9]{31})(?:$|[ \x22])"),
    ("id", r"(?:^|[^A-Za-z0-9])(?P<v>[KUSTOIA][0-9A-HJKMNP-TV-Z]{8})(?:$|[^A-Za-z0-9])"),
    ("hint", r"\.\.\.(?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9])\b"),
    ("hint", r"\x22hint\x22:\x22(?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9])\x22"),
    ("hint", r"\bhint: (?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9])(?:$|,| ->)"),
    ("hint", r"^(?:hint|truncated token|client secret hint) +(?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9])$"),
    ("hint", r",metrics,(?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9]),"),
    ("time", r"(?P<v>\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(?:\.\d{3})?Z)"),
    ("seconds", r"a new window in (?P<v>[1-5]?\d|60) s"),
    ("seconds", r"\x22reset\x22:(?P<v>[1-5]?\d|60)\}"),
    ("uid", r"^U[0-9A-Z]{8} +ada +owner +- +(?P<v>\d+) "),
];

/// What is one thing wherever it turns up.
const SAME_EVERYWHERE: &[&str] = &[
    "client secret",
    "app token",
    "user token",
    "general key",
    "integration key",
    "head",
    "id",
    "hint",
    "uid",
];

struct Shapes(Vec<(&'static str, Regex)>);

impl Shapes {
    fn new() -> Self {
        Self(VARYING.iter().map(|(kind, shape)| (*kind, Regex::new(shape).unwrap())).collect())
    }

    /// Takes a line apart: the line with names in place of what varies, blanks run together, and what stood there.
    fn apart(&self, line: &str) -> (String, Vec<(&'static str, String)>) {
        let mut found: Vec<(usize, usize, &'static str)> = Vec::new();
        for (kind, shape) in &self.0 {
            let mut from = 0;
            // What surrounds one may surround the next as well, so the search goes on right behind the value.
            while let Some(value) =
                shape.captures_at(line, from).map(|found: Captures<'_>| found.name("v").unwrap())
            {
                from = value.end();
                let (start, end) = (value.start(), value.end());
                if found.iter().all(|(from, to, _)| end <= *from || *to <= start) {
                    found.push((start, end, kind));
                }
            }
        }
        found.sort_unstable();
        let (mut text, mut values, mut at) = (String::new(), Vec::new(), 0);
        for (start, end, kind) in found {
            write!(text, "{}<{kind}>", &line[at..start]).unwrap();
            values.push((kind, line[start..end].to_owned()));
            at = end;
        }
        text.push_str(&line[at..]);
        (text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "), values)
    }
}

/// What things of the README are called here.
#[derive(Default)]
struct Names(BTreeMap<(&'static str, String), String>);

impl Names {
    /// Notes that two are the same thing, or says what speaks against it.
    fn learn(&mut self, kind: &'static str, there: &str, here: &str) -> Result<(), String> {
        if !SAME_EVERYWHERE.contains(&kind) {
            return Ok(());
        }
        let known = self.0.entry((kind, there.to_owned())).or_insert_with(|| here.to_owned());
        if known != here {
            return Err(format!("{kind} {there} was {known} before, and now is {here}"));
        }
        if kind.ends_with("key") || kind.ends_with("token") || kind.ends_with("secret") {
            return self.learn("hint", &there[there.len() - 4..], &here[here.len() - 4..]);
        }
        Ok(())
    }

    /// A command with the ids that things have here.
    fn translate(&self, command: &str) -> String {
        self.0
            .iter()
            .filter(|((kind, _), _)| *kind == "id")
            .fold(command.to_owned(), |command, ((_, there), here)| command.replace(there, here))
    }
}

/// The one who runs the tests, as the operating system knows them.
fn this_user(option: &str) -> String {
    let output = Command::new("id").arg(option).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What was printed here, as ada would have seen it.
fn as_ada(line: &str, home: &Path, login: &Regex) -> String {
    let line = line.replace(home.to_str().unwrap(), "/home/ada");
    let line = line.replace("Library/Application Support", ".local/share");
    login.replace_all(&line, "ada").into_owned()
}

/// What stands in the README and what was printed, where they differ.
fn compare(
    step: &Step,
    printed: &[String],
    shapes: &Shapes,
    names: &mut Names,
    uid: &str,
) -> Result<(), String> {
    let (mut expected, mut got, mut faults) = (Vec::new(), Vec::new(), String::new());
    for index in 0..step.printed.len().max(printed.len()) {
        let there = step.printed.get(index).map(|line| shapes.apart(line));
        let here = printed.get(index).map(|line| shapes.apart(line));
        if let (Some((one, values)), Some((other, others))) = (&there, &here)
            && one == other
        {
            for ((kind, there), (_, here)) in values.iter().zip(others) {
                if let Err(fault) = names.learn(kind, there, here) {
                    writeln!(faults, "  {fault}").unwrap();
                }
                if *kind == "uid" && here != uid {
                    writeln!(faults, "  uid {here} is not that of this process, {uid}").unwrap();
                }
            }
        }
        expected.extend(there.map(|(text, _)| text));
        got.extend(here.map(|(text, _)| text));
    }
    if expected != got {
        for line in expected {
            writeln!(faults, "  - {line}").unwrap();
        }
        for line in got {
            writeln!(faults, "  + {line}").unwrap();
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("README.md:{}: $ {}\n{faults}", step.line, step.command))
}

/// What a block of shell commands is to this test.
enum Script {
    /// It runs, and ends well.
    Runs,
    /// It needs root, the network, or a build.
    NotHere,
}

fn script(block: &Block) -> Script {
    match block.lines[0].split_whitespace().next().unwrap_or_default() {
        "cargo" | "tests/run" | "sudo" | "mkdir" => Script::NotHere,
        _ => Script::Runs,
    }
}

#[test]
fn the_readme_prints_what_it_says() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().canonicalize().unwrap();
    let login = Regex::new(&format!(r"\b{}\b", regex::escape(&this_user("-un")))).unwrap();
    let (uid, shapes) = (this_user("-u"), Shapes::new());
    let (mut shell, mut names, mut faults, mut done) = (Shell::new(&home), Names::default(), Vec::new(), 0);
    for block in blocks().into_iter().filter(|block| block.section != IN_FRONT) {
        match block.language.as_str() {
            "console" => {
                for step in steps(&block) {
                    let printed: Vec<_> = shell
                        .run(&names.translate(&step.command))
                        .iter()
                        .map(|line| as_ada(line, &home, &login))
                        .collect();
                    faults.extend(compare(&step, &printed, &shapes, &mut names, &uid).err());
                    done += 1;
                }
            }
            "sh" if matches!(script(&block), Script::Runs) => {
                let printed = shell.run(&names.translate(&block.lines.join("\n"))).join("\n");
                let last = shell.last();
                if last != "0" {
                    faults.push(format!("README.md:{}: exits with {last}\n{printed}\n", block.line));
                }
            }
            _ => {}
        }
    }
    assert!(done > 50, "only {done} steps were found");
    assert!(faults.is_empty(), "{} of {done} steps differ\n\n{}", faults.len(), faults.join("\n"));
}

/// The section in which gateways ask.
const IN_FRONT: &str = "Put it in front of your API in five minutes";

/// The programs of that section: what listens on a port here that the README has another one for.
#[cfg(target_os = "linux")]
struct Ports([(&'static str, u16); 3]);

#[cfg(target_os = "linux")]
impl Ports {
    fn new() -> Self {
        Self(["8000", "8080", "8787"].map(|shown| (shown, process::free_port())))
    }

    fn here(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, here)| text.replace(shown, &here.to_string()))
    }

    fn shown(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, (shown, here)| line.replace(&here.to_string(), shown))
    }

    fn is_listening(&self, shown: &str) -> bool {
        let (_, port) = self.0.iter().find(|(other, _)| *other == shown).unwrap();
        std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok()
    }

    /// Somebody at a keyboard is not as fast as this test.
    fn wait_for(&self, shown: &str) {
        let started = std::time::Instant::now();
        while !self.is_listening(shown) {
            assert!(started.elapsed().as_secs() < 20, "nobody listens on port {shown}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_gateways_of_the_readme_do_what_it_says() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().canonicalize().unwrap();
    let login = Regex::new(&format!(r"\b{}\b", regex::escape(&this_user("-un")))).unwrap();
    let (uid, shapes, ports) = (this_user("-u"), Shapes::new(), Ports::new());
    let (mut shell, mut names, mut faults, mut done) = (Shell::new(&home), Names::default(), Vec::new(), 0);
    let mut gateway: Option<process::Process> = None;
    for block in blocks().into_iter().filter(|block| block.section == IN_FRONT) {
        let configuration = ports.here(&block.lines.join("\n"));
        let directory = home.join(&block.language);
        let command = match block.language.as_str() {
            "nginx" => Some(programs::nginx as fn(&Path, &str) -> Command),
            "caddyfile" => Some(programs::caddy as fn(&Path, &str) -> Command),
            _ => None,
        };
        if let Some(command) = command {
            // Two of them cannot have one port.
            drop(gateway.take());
            fs::create_dir(&directory).unwrap();
            let command = command(&directory, &configuration);
            let ready = || ports.is_listening("8000");
            gateway = Some(process::Process::start(&command, directory.join("log"), ready).unwrap());
        }
        for step in if block.language == "console" { steps(&block) } else { Vec::new() } {
            let printed: Vec<_> = shell
                .run(&ports.here(&names.translate(&step.command)))
                .iter()
                .map(|line| as_ada(&ports.shown(line), &home, &login))
                .collect();
            faults.extend(compare(&step, &printed, &shapes, &mut names, &uid).err());
            done += 1;
            if step.command.ends_with('&') {
                ports.wait_for(if step.command.contains("serve ") { "8787" } else { "8080" });
            }
        }
    }
    assert!(done > 12, "only {done} steps were found");
    assert!(faults.is_empty(), "{} of {done} steps differ\n\n{}", faults.len(), faults.join("\n"));
}

/// The Rust in the README is part of the walk through the library, which runs as a documentation test.
#[test]
fn the_rust_of_the_readme_is_that_of_the_library() {
    let library = in_repository("src/lib.rs");
    let mut walk = library.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim);
    let rust: Vec<_> = blocks().into_iter().filter(|block| block.language == "rust").collect();
    assert_eq!(rust.len(), 1);
    for (index, line) in rust[0].lines.iter().enumerate() {
        let line_number = rust[0].line + index;
        assert!(
            line.trim().is_empty() || walk.any(|other| other == line.trim()),
            "README.md:{line_number}: not in src/lib.rs, or not in this order: {line}"
        );
    }
}

/// What the documents link to, in this repository and in themselves, is there.
#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let heading = Regex::new(r"(?m)^#+ (.+)$").unwrap();
    let anchors = |text: &str| -> Vec<String> {
        heading
            .captures_iter(text)
            .map(|found| {
                let kept = found[1].to_lowercase();
                kept.chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect()
            })
            .collect()
    };
    for document in ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = in_repository(document);
        for found in link.captures_iter(&text) {
            let target = &found[1];
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { document } else { path };
            let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            assert!(there.exists(), "{document} links to {target}, which is not there");
            assert!(
                anchor.is_empty() || anchors(&in_repository(path)).iter().any(|known| known == anchor),
                "{document} links to {target}, where no heading is called so"
            );
        }
    }
}
