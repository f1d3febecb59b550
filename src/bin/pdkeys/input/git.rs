//! Reads what git keeps of a repository, and runs nothing that the repository names.
//!
//! Configuration can make git run programs: hooks, filters, signature checkers, file system monitors, pagers, and
//! transports for the objects that a partial clone lacks. Who hands over a repository writes its configuration, and
//! behind `sudo` the caller may write the user's as well. Therefore:
//!
//! - only plumbing is called that prints objects, names and states, never `log`, `show`, `status` or `diff`;
//! - git gets an environment of its own, so that neither `GIT_DIR` of a hook nor `GIT_TRACE` has a say;
//! - the settings that name programs are overridden on the command line, which wins over every file;
//! - no transport is allowed by [`GIT_ALLOW_PROTOCOL`](NO_TRANSPORT), which wins over every setting.
//!
//! The user's own configuration is still read: `safe.directory` says which repositories of others git may open.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};
use zeroize::Zeroizing;

use crate::environment::variable;
use crate::input::sources::{self, Opened, SkipSet};

/// Settings that name programs, or make git ask something of one.
const OVERRIDDEN: [&str; 14] = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.pager=cat",
    "core.editor=false",
    "core.askPass=false",
    "core.sshCommand=false",
    "core.gitProxy=false",
    "core.alternateRefsCommand=false",
    "credential.helper=",
    "diff.external=",
    "gpg.program=false",
    "log.showSignature=false",
    "protocol.allow=never",
];
/// What the environment of git is made of, beside what it inherits.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("LC_ALL", "C"),
    NO_TRANSPORT,
    // Of a partial clone, only what is there.
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    // Objects and history as they are, and not as `refs/replace` or a file of grafts say.
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_GRAFT_FILE", "/dev/null"),
    // The user's configuration can name files and sockets to trace to.
    ("GIT_TRACE2", "0"),
    ("GIT_TRACE2_PERF", "0"),
    ("GIT_TRACE2_EVENT", "0"),
];
/// A list of allowed transports that has none.
const NO_TRANSPORT: (&str, &str) = ("GIT_ALLOW_PROTOCOL", "");
/// What is inherited: where git is, where the user's configuration is, and who called `sudo`, whose repositories git
/// opens.
const INHERITED: [&str; 3] = ["HOME", "XDG_CONFIG_HOME", "SUDO_UID"];
/// Files in a git directory that git reads whatever it is asked.
const ALWAYS_READ: [&str; 7] =
    ["HEAD", "commondir", "config", "config.worktree", "index", "info/exclude", "packed-refs"];
/// Directories in a git directory all of whose files git may read whatever it is asked.
const ALWAYS_LISTED: [&str; 2] = ["objects/info", "objects/pack"];
/// How long git may be silent while it prints objects, which takes what it takes: a pipe that an alternate or an included
/// file of configuration leads to keeps it waiting for good.
const SILENCE: Duration = Duration::from_mins(1);
/// How long git may take to answer what is no matter of reading objects.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of what git says on standard error is kept, in bytes.
const COMPLAINT: u64 = 4096;
/// The largest file that says where a git directory is, in bytes.
const LARGEST_POINTER: u64 = 1 << 16;
/// The mode of an entry that is a submodule.
const GITLINK: &[u8] = b"160000";
/// A name that no ignore rule was written for.
const UNHEARD_OF: &str = "pdkeys-asks-whether-a-new-file-is-ignored";

/// The type of an object that git keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Blob,
    Tree,
    Commit,
    Tag,
}

/// An object that git keeps.
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// A repository, and how what is found in it is named.
pub(crate) struct Repository {
    directory: PathBuf,
    /// What stands before the paths in it: of a submodule, where it is.
    prefix: Vec<u8>,
}

/// A submodule that the index names.
pub(crate) struct Submodule {
    pub(crate) path: Vec<u8>,
    /// Its repository, if it is there.
    pub(crate) repository: Option<Repository>,
}

/// One place that something came into the history at: the path, and the first commit that has it there.
pub(crate) struct Introduced {
    pub(crate) path: Vec<u8>,
    pub(crate) commit: Option<String>,
}

/// A commit that has something at a path.
#[derive(Clone, Default)]
struct Commit {
    name: String,
    /// When it was made, in seconds since the epoch.
    time: u64,
    /// The names of its parents, with blanks between.
    parents: String,
}

impl Commit {
    /// Reads `%H %ct %P`.
    fn parse(header: &str) -> Self {
        let mut words = header.splitn(3, ' ').map(str::to_owned);
        let name = words.next().unwrap_or_default();
        let time = words.next().and_then(|time| time.parse().ok()).unwrap_or_default();
        Self { name, time, parents: words.next().unwrap_or_default() }
    }

    /// Whether it came before another. In one second, a merge brings in what others made.
    fn is_before(&self, other: &Self) -> bool {
        let age = |commit: &Self| (commit.time, commit.parents.contains(' '));
        age(self) < age(other) || (age(self) == age(other) && other.parents.contains(&self.name))
    }
}

/// The paths at which something is, and the first commit that has it there; the index has none.
type Paths = BTreeMap<Vec<u8>, Option<Commit>>;

/// Where blobs and names came into the history.
pub(crate) struct Places {
    blobs: BTreeMap<String, Paths>,
    names: BTreeMap<Vec<u8>, Paths>,
}

impl Places {
    /// The places of a blob; none if nothing that is left leads to it.
    pub(crate) fn of_blob(&self, object: &str) -> Vec<Introduced> {
        introduced(self.blobs.get(object))
    }

    /// The paths that end with a name.
    pub(crate) fn of_name(&self, name: &[u8]) -> Vec<Introduced> {
        introduced(self.names.get(name))
    }

    /// Takes in that a commit, or the index, has a blob at a path.
    fn add(&mut self, object: &str, path: &[u8], commit: Option<&Commit>) {
        if let Some(paths) = self.blobs.get_mut(object) {
            keep_first(paths, path, commit);
        }
        if self.names.is_empty() {
            return;
        }
        let mut end = 0;
        for component in path.split(|byte| *byte == b'/') {
            end += component.len();
            if let Some(paths) = self.names.get_mut(component) {
                keep_first(paths, &path[..end], commit);
            }
            end += 1;
        }
    }
}

fn keep_first(paths: &mut Paths, path: &[u8], commit: Option<&Commit>) {
    match paths.get_mut(path) {
        None => {
            paths.insert(path.to_owned(), commit.cloned());
        }
        Some(kept) => {
            if commit.is_some_and(|commit| kept.as_ref().is_none_or(|kept| commit.is_before(kept))) {
                *kept = commit.cloned();
            }
        }
    }
}

fn introduced(paths: Option<&Paths>) -> Vec<Introduced> {
    let paths = paths.into_iter().flatten();
    paths
        .map(|(path, commit)| Introduced {
            path: path.clone(),
            commit: commit.as_ref().map(|commit| commit.name.clone()),
        })
        .collect()
}

/// The directory that holds `.git`, of the repository that a path is in.
pub(crate) fn top_of(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let top = path.ancestors().find(|directory| fs::symlink_metadata(directory.join(".git")).is_ok())?;
    Some(seen_from_here(top))
}

/// A path without the current directory before it.
fn seen_from_here(path: &Path) -> PathBuf {
    let here = env::current_dir().ok();
    match here.and_then(|here| path.strip_prefix(here).ok()) {
        Some(below) if below.as_os_str().is_empty() => PathBuf::from("."),
        Some(below) => below.to_owned(),
        None => path.to_owned(),
    }
}

/// The directories in which git keeps what belongs to a checkout: `.git`, or where that file points, and what worktrees
/// share.
pub(crate) fn git_directories(top: &Path, skip: &SkipSet) -> Vec<PathBuf> {
    let dot_git = top.join(".git");
    if dot_git.is_dir() {
        return vec![dot_git];
    }
    let Some(own) = pointer(&dot_git, b"gitdir: ", skip).map(|target| top.join(target)) else {
        return Vec::new();
    };
    let common = pointer(&own.join("commondir"), b"", skip).map(|target| own.join(target));
    let directories = [own].into_iter().chain(common);
    directories.filter_map(|directory| Some(seen_from_here(&fs::canonicalize(directory).ok()?))).collect()
}

/// The path that a file holds behind a label.
fn pointer(file: &Path, label: &[u8], skip: &SkipSet) -> Option<PathBuf> {
    let opened = sources::open(file, sources::identify(file).ok()?, skip).ok()?;
    let Opened::Content(content) = opened else { return None };
    let mut text = Vec::new();
    content.take(LARGEST_POINTER).read_to_end(&mut text).ok()?;
    let path = text.strip_prefix(label)?.trim_ascii_end();
    Some(OsStr::from_bytes(path).into())
}

impl Repository {
    /// The repository that a path is in.
    pub(crate) fn of(path: &Path) -> Self {
        let directory = top_of(path).unwrap_or_else(|| {
            let directory = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
            if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory.to_owned() }
        });
        Self { directory, prefix: Vec::new() }
    }

    /// The repository whose files are seen from a directory, and named from there.
    pub(crate) fn seen_from(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), prefix: Vec::new() }
    }

    /// How a path in the repository is named to people.
    pub(crate) fn named(&self, path: &[u8]) -> Vec<u8> {
        [&self.prefix, path].concat()
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn git(&self, arguments: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.env_clear().envs(ENVIRONMENT);
        git.envs(INHERITED.iter().filter_map(|name| Some((name, variable(name)?))));
        if let Some(path) = absolute_path() {
            git.env("PATH", path);
        }
        git.arg("-C").arg(&self.directory);
        git.args(["--no-pager", "--no-replace-objects", "--no-optional-locks"]);
        for setting in OVERRIDDEN {
            git.args(["-c", setting]);
        }
        git.args(arguments);
        git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        git
    }

    /// Runs git to its end, which must not be long in coming: a pipe in the place of a file would never end.
    fn output(&self, arguments: &[&str]) -> io::Result<Output> {
        if let Some(pipe) = self.pipe() {
            return Err(io::Error::other(format!("{} is not a file", pipe.display())));
        }
        let child = self.git(arguments).spawn().map_err(not_started)?;
        let process = Pid::from_child(&child);
        let (ended, output) = mpsc::channel();
        thread::spawn(move || ended.send(child.wait_with_output()));
        output.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            // It was not waited for yet, so that the number is still its own.
            let _ = rustix::process::kill_process(process, Signal::KILL);
            Err(io::Error::other("git does not answer"))
        })
    }

    /// What git would read whatever it is asked, and is no file.
    fn pipe(&self) -> Option<PathBuf> {
        let directories = [self.directory.join(".git"), self.directory.clone()];
        let files = directories.iter().flat_map(|directory| ALWAYS_READ.map(|file| directory.join(file)));
        let listed =
            directories.iter().flat_map(|directory| ALWAYS_LISTED.map(|below| directory.join(below)));
        let entries = listed.filter_map(|directory| fs::read_dir(directory).ok()).flatten();
        let files = files.chain(entries.filter_map(|entry| Some(entry.ok()?.path())));
        let is_pipe = |file: &fs::Metadata| !file.is_file() && !file.is_dir();
        files.into_iter().find(|path| fs::metadata(path).is_ok_and(|file| is_pipe(&file)))
    }

    /// What git prints, if it succeeds.
    fn printed(&self, arguments: &[&str]) -> io::Result<Vec<u8>> {
        let output = self.output(arguments)?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(io::Error::other(
                complaint(&output.stderr).unwrap_or_else(|| format!("git ended with {}", output.status)),
            ))
        }
    }

    /// Where git keeps the objects: the same for every path and worktree of the repository.
    pub(crate) fn git_directory(&self) -> io::Result<PathBuf> {
        let mut directory = self.printed(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
        directory.pop_if(|last| *last == b'\n');
        Ok(OsString::from_vec(directory).into())
    }

    /// The files that git tracks below the directory, from there.
    pub(crate) fn tracked(&self) -> io::Result<Vec<PathBuf>> {
        let listed = self.printed(&["ls-files", "-z"])?;
        let paths = listed.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        Ok(paths.map(|path| OsStr::from_bytes(path).into()).collect())
    }

    /// Whether git would ignore a file that is new in the directory.
    pub(crate) fn ignores_new_files(&self) -> io::Result<bool> {
        let output = self.output(&["check-ignore", "--quiet", "--no-index", "--", UNHEARD_OF])?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(io::Error::other(complaint(&output.stderr).unwrap_or_default())),
        }
    }

    /// The names of its branches, tags and other references, a line each.
    pub(crate) fn references(&self) -> io::Result<Vec<u8>> {
        self.printed(&["for-each-ref", "--format=%(refname)"])
    }

    /// Why some of its history is not here, if so; submodules are asked for by themselves.
    pub(crate) fn missing_history(&self, git_directory: &Path) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.printed(&["rev-parse", "--is-shallow-repository"]).is_ok_and(|answer| answer == b"true\n") {
            missing.push("it is a shallow clone, and what came before is not here");
        }
        let is_promised = |pack: io::Result<fs::DirEntry>| {
            pack.is_ok_and(|pack| Path::new(&pack.file_name()).extension() == Some(OsStr::new("promisor")))
        };
        if fs::read_dir(git_directory.join("objects/pack")).is_ok_and(|mut packs| packs.any(is_promised)) {
            missing.push("it is a partial clone, and what was not fetched is not here");
        }
        missing
    }

    /// The submodules that the index names, or the last commit where there is no index.
    pub(crate) fn submodules(&self, git_directory: &Path) -> io::Result<Vec<Submodule>> {
        let listed = self.printed(&["ls-files", "--stage", "-z"])?;
        let listed = match listed.as_slice() {
            [] => self.printed(&["ls-tree", "-r", "-z", "HEAD"]).unwrap_or_default(),
            _ => listed,
        };
        let links = listed.split(|byte| *byte == 0).filter(|entry| entry.starts_with(GITLINK));
        let paths: BTreeSet<&[u8]> =
            links.filter_map(|entry| entry.splitn(2, |b| *b == b'\t').nth(1)).collect();
        let submodule = |path: &[u8]| {
            let below = Path::new(OsStr::from_bytes(path));
            let checkout = self.directory.join(below);
            // Its repository stays when the checkout is taken away, under the name, which is its first path.
            let kept = git_directory.join("modules").join(below);
            let directory = if fs::symlink_metadata(checkout.join(".git")).is_ok() {
                Some(checkout)
            } else {
                kept.join("HEAD").is_file().then_some(kept)
            };
            let prefix = [&self.prefix, path, b"/"].concat();
            let repository = directory.map(|directory| Self { directory, prefix });
            Submodule { path: self.named(path), repository }
        };
        Ok(paths.into_iter().map(submodule).collect())
    }

    /// Shows each object once.
    pub(crate) fn each<E: From<io::Error>>(
        &self,
        mut visit: impl FnMut(&Object, u64, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let format = "--batch=%(objectname) %(objecttype) %(objectsize)";
        let listing = ["cat-file", "--batch-all-objects", "--unordered", "--buffer", format];
        let mut git = Reading::start(self.git(&listing))?;
        let stdout = git.stdout()?;
        let done = read_objects(stdout, &mut visit);
        let ended = git.end(done.is_ok());
        done?;
        Ok(ended?)
    }

    /// Finds out where blobs, and names of files and directories, came into the history: by one pass over all commits
    /// that are kept, whatever leads to them, and then the index. What was found out until an error stands.
    pub(crate) fn places(
        &self,
        blobs: impl Iterator<Item = String>,
        names: impl Iterator<Item = Vec<u8>>,
    ) -> (Places, Option<io::Error>) {
        let mut places = Places {
            blobs: blobs.map(|object| (object, BTreeMap::new())).collect(),
            names: names.map(|name| (name, BTreeMap::new())).collect(),
        };
        if places.blobs.is_empty() && places.names.is_empty() {
            return (places, None);
        }
        let error = self.read_history(&mut places).err();
        for entry in self.printed(&["ls-files", "--stage", "-z"]).unwrap_or_default().split(|byte| *byte == 0)
        {
            let Some((meta, path)) = split_at_byte(entry, b'\t') else { continue };
            let object = meta.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            places.add(&String::from_utf8_lossy(object), path, None);
        }
        (places, error)
    }

    fn read_history(&self, places: &mut Places) -> io::Result<()> {
        let format = "--batch-check=%(objecttype) %(objectname)";
        let mut listing =
            Reading::start(self.git(&["cat-file", "--batch-all-objects", "--unordered", format]))?;
        let mut diff = self.git(&[
            "diff-tree",
            "--stdin",
            "-r",
            "-m",
            "--root",
            "--raw",
            "-z",
            "--no-abbrev",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
            "--diff-filter=d",
            "--format=%H %ct %P",
        ]);
        diff.stdin(Stdio::piped());
        let mut diff = Reading::start(diff)?;
        let mut wanted = diff.child.stdin.take();
        let commits = listing.stdout()?;
        let feeding = thread::spawn(move || -> io::Result<()> {
            let Some(mut out) = wanted.take() else { return Ok(()) };
            for line in BufReader::new(commits).split(b'\n') {
                if let Some(commit) = line?.strip_prefix(b"commit ") {
                    out.write_all(&[commit, b"\n"].concat())?;
                }
            }
            Ok(())
        });
        let read = diff.stdout().and_then(|stdout| read_raw_diff(stdout, places));
        let diffed = diff.end(read.is_ok());
        let fed = feeding.join().unwrap_or(Ok(()));
        let listed = listing.end(fed.is_ok());
        read.and(diffed).and(fed).and(listed)
    }
}

/// A git that is read from; what it says on standard error is read beside, however much it is.
struct Reading {
    child: Child,
    complaints: JoinHandle<Vec<u8>>,
}

impl Reading {
    fn start(mut git: Command) -> io::Result<Self> {
        let mut child = git.spawn().map_err(not_started)?;
        let stderr = child.stderr.take();
        Ok(Self { child, complaints: thread::spawn(move || stderr.map(beginning).unwrap_or_default()) })
    }

    fn stdout(&mut self) -> io::Result<Talking> {
        let stdout = self.child.stdout.take().ok_or_else(|| io::Error::other("git has no output"))?;
        Ok(Talking { stdout, silence: SILENCE })
    }

    /// Waits for its end; an error is what it complained of, even if it succeeded: it passes over what it cannot read.
    fn end(mut self, was_read: bool) -> io::Result<()> {
        if !was_read {
            // It would go on writing, and nothing reads it.
            let _ = self.child.kill();
        }
        let status = self.child.wait()?;
        let said = self.complaints.join().unwrap_or_default();
        if !was_read || (status.success() && !has_error(&said)) {
            return Ok(());
        }
        Err(io::Error::other(complaint(&said).unwrap_or_else(|| format!("git ended with {status}"))))
    }
}

/// What git prints, for as long as it goes on printing. The time that the reader takes does not count.
struct Talking {
    stdout: ChildStdout,
    silence: Duration,
}

impl Read for Talking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let silence = Timespec::try_from(self.silence).map_err(io::Error::other)?;
        match rustix::event::poll(&mut [PollFd::new(&self.stdout, PollFlags::IN)], Some(&silence)) {
            Ok(0) => Err(io::Error::other("git does not answer")),
            Ok(_) => self.stdout.read(buffer),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads all that comes, and keeps the beginning.
fn beginning(mut stderr: ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    // What cannot be read cannot be told.
    let _ = stderr.by_ref().take(COMPLAINT).read_to_end(&mut kept);
    let _ = io::copy(&mut stderr, &mut io::sink());
    kept
}

fn not_started(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::other("git is not installed"),
        _ => error,
    }
}

/// `PATH` without what depends on the current directory, which may be the repository itself.
fn absolute_path() -> Option<OsString> {
    let path = variable("PATH")?;
    env::join_paths(env::split_paths(&path).filter(|directory| directory.is_absolute())).ok()
}

fn read_objects<E: From<io::Error>>(
    stdout: impl Read,
    visit: &mut impl FnMut(&Object, u64, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut objects = BufReader::with_capacity(1 << 16, stdout);
    let mut header = String::new();
    let mut missing = 0_u64;
    loop {
        header.clear();
        if objects.read_line(&mut header)? == 0 {
            return match missing {
                0 => Ok(()),
                _ => Err(io::Error::other(format!("{missing} objects are missing")).into()),
            };
        }
        let mut words = header.split_ascii_whitespace();
        let (name, kind, size) = (words.next(), words.next(), words.next().map(str::parse::<u64>));
        let kind = match kind {
            Some("blob") => Kind::Blob,
            Some("tree") => Kind::Tree,
            Some("commit") => Kind::Commit,
            Some("tag") => Kind::Tag,
            Some("missing") => {
                missing += 1;
                continue;
            }
            _ => return Err(io::Error::other("git says something that is not understood").into()),
        };
        let (Some(name), Some(Ok(size))) = (name, size) else {
            return Err(io::Error::other("git says something that is not understood").into());
        };
        let mut content = objects.by_ref().take(size);
        visit(&Object { name: name.to_owned(), kind }, size, &mut content)?;
        io::copy(&mut content, &mut io::sink())?;
        // The line end behind it.
        io::copy(&mut objects.by_ref().take(1), &mut io::sink())?;
    }
}

/// Reads `diff-tree --raw -z`: of each commit a header, of each change a line of modes and objects, and a path.
fn read_raw_diff(stdout: impl Read, places: &mut Places) -> io::Result<()> {
    let mut fields = BufReader::with_capacity(1 << 16, stdout);
    let mut field = Vec::new();
    let mut commit = Commit::default();
    let mut object: Option<String> = None;
    loop {
        field.clear();
        if fields.read_until(0, &mut field)? == 0 {
            return Ok(());
        }
        field.pop_if(|last| *last == 0);
        if let Some(object) = object.take() {
            places.add(&object, &field, Some(&commit));
            continue;
        }
        let text = String::from_utf8_lossy(&field);
        let text = text.trim_start_matches('\n');
        match text.strip_prefix(':') {
            Some(change) => object = change.split(' ').nth(3).map(str::to_owned),
            None => commit = Commit::parse(text),
        }
    }
}

/// The names in a tree, a line each; a line end in a name, which no name can hold a `/` for, becomes one.
pub(crate) fn names_in_tree(
    object: &Object,
    size: u64,
    content: &mut dyn Read,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut tree = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1));
    content.read_to_end(&mut tree)?;
    let mut names = Zeroizing::new(Vec::with_capacity(tree.len()));
    let binary = object.name.len() / 2;
    let mut rest = tree.as_slice();
    while let Some((head, behind)) = split_at_byte(rest, 0) {
        let name = split_at_byte(head, b' ').map_or(head, |(_, name)| name);
        names.extend(name.iter().map(|byte| if *byte == b'\n' { b'/' } else { *byte }));
        names.push(b'\n');
        rest = behind.get(binary..).unwrap_or_default();
    }
    Ok(names)
}

/// The name in a line of [`names_in_tree`], counted from 1.
pub(crate) fn name_in_line(names: &[u8], line: u64) -> Vec<u8> {
    let at = usize::try_from(line).unwrap_or_default().saturating_sub(1);
    let name = names.split(|byte| *byte == b'\n').nth(at).unwrap_or_default();
    name.iter().map(|byte| if *byte == b'/' { b'\n' } else { *byte }).collect()
}

fn split_at_byte(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// Whether git tells of more than warnings.
fn has_error(stderr: &[u8]) -> bool {
    stderr
        .split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(b"error: ") || line.starts_with(b"fatal: "))
}

/// The first error that git tells of, else the first line.
fn complaint(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let error =
        text.lines().find_map(|line| line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")));
    error.or_else(|| text.lines().find(|line| !line.trim().is_empty())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_that_says_nothing_is_given_up() {
        let mut silent = Command::new("sh");
        silent.args(["-c", "echo first; exec sleep 30"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut git = Reading::start(silent).unwrap();
        let talking = Talking { silence: Duration::from_millis(500), ..git.stdout().unwrap() };
        let mut lines = BufReader::new(talking).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "first");
        assert_eq!(lines.next().unwrap().unwrap_err().to_string(), "git does not answer");
        git.end(false).unwrap();
    }
}
