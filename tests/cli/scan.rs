//! `scan`: where keys of the store have got to.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use insta::assert_snapshot;
use pdkeys::model::Secret;
use pdkeys::ports::SystemEntropy;

use crate::session::{Machine, Ran, SOMEBODY, can_be_others, set_mode, text_of};

/// A secret of each kind, by its name.
fn one_of_each(machine: &Machine) -> Vec<(&'static str, String)> {
    machine.run(["service", "create", "web"]).must_succeed();
    machine.run(["orchestration", "create", "router"]).must_succeed();
    let client =
        machine.run(["app", "register", "bot", "--scope", "incidents.read"]).must_succeed().line().to_owned();
    vec![
        ("general", machine.make_key("ci", &[]).1),
        ("user-token", machine.make_token("ann", "laptop", &[]).1),
        ("integration", machine.make_integration("service", "web", "alerts").1),
        ("integration", machine.make_integration("orchestration", "router", "routed").1),
        ("app-token", machine.run(["app", "token", "bot"]).must_succeed().line().to_owned()),
        ("client-secret", client),
    ]
}

/// Where the programs of this machine are: git need not be where pdkeys is tested.
#[expect(clippy::disallowed_methods, reason = "git is found the way the tests themselves are")]
fn programs() -> String {
    std::env::var("PATH").unwrap()
}

/// Runs git in the directory `tree`.
fn git(machine: &Machine, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.env_clear().env("HOME", machine.home()).env("PATH", programs()).current_dir(machine.file("tree"));
    git.args(["-c", "user.name=ann", "-c", "user.email=ann@example.com"]).args(arguments);
    let output = git.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Scans with git at hand.
fn scan_git<'m>(machine: &'m Machine, options: &[&str]) -> Ran<'m> {
    let arguments = ["scan", "--git", "tree"].into_iter().chain(options.iter().copied());
    machine.finish(machine.command(arguments).env("PATH", programs()))
}

/// Scans without looking into history, with git at hand.
fn scan<'m>(machine: &'m Machine, arguments: &[&str]) -> Ran<'m> {
    let arguments = ["scan"].into_iter().chain(arguments.iter().copied());
    machine.finish(machine.command(arguments).env("PATH", programs()))
}

/// Runs a script with git and an author at hand; `$key` is a key.
fn with_git(machine: &Machine, key: &str, script: &str) {
    let mut shell = machine.shell(&format!("set -e\n{script}"));
    for name in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
        shell.env(name, "ann");
    }
    machine.finish(shell.env("HOME", machine.home()).env("PATH", programs()).env("key", key)).must_succeed();
}

/// What was found, each as its file and line; `KEY` stands for the id.
fn places(ran: &Ran<'_>, id: &str) -> Vec<String> {
    let found = ran.json();
    let place = |found: &serde_json::Value| format!("{}:{}", text_of(found, "file"), found["line"]);
    found.as_array().unwrap().iter().map(|found| place(found).replace(id, "KEY")).collect()
}

/// A machine with a key, and an empty directory `tree`.
fn with_key() -> (Machine, String, String) {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &[]);
    fs::create_dir(machine.file("tree")).unwrap();
    (machine, id, key)
}

fn scan_pipe<'m>(machine: &'m Machine, text: &[u8]) -> Ran<'m> {
    let mut child = machine
        .command(["scan", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    machine.ran(child.wait_with_output().unwrap())
}

/// The kinds that were found, in order.
fn kinds(ran: &Ran<'_>) -> Vec<String> {
    let mut kinds: Vec<_> =
        ran.json().as_array().unwrap().iter().map(|found| text_of(found, "kind")).collect();
    kinds.sort();
    kinds
}

fn assert_no_secret(ran: &Ran<'_>, secrets: &[(&str, String)]) {
    for (kind, secret) in secrets {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "it prints the {kind}");
    }
}

#[test]
fn a_key_of_each_kind_is_found_in_a_text_a_binary_a_deleted_file_and_a_pipe() {
    let machine = Machine::with_store();
    let secrets = one_of_each(&machine);
    let mut expected: Vec<_> = secrets.iter().map(|(kind, _)| (*kind).to_owned()).collect();
    expected.sort();
    let mut text = String::new();
    for (kind, secret) in &secrets {
        writeln!(text, "# {kind}\nKEY=\"{secret}\"").unwrap();
    }
    let mut binary = vec![0, 159, 146, 150];
    for (_, secret) in &secrets {
        binary.extend_from_slice(secret.as_bytes());
        binary.extend_from_slice(&[0, 255, 7]);
    }
    fs::create_dir(machine.file("tree")).unwrap();
    for (name, content) in [("text", text.as_bytes()), ("binary", &binary)] {
        let path = machine.file("tree").join(name);
        fs::write(&path, content).unwrap();
        let ran = machine.run(["scan", "tree", "-o", "json"]).must_exit(3);
        assert_eq!(kinds(&ran), expected, "{name}");
        assert_no_secret(&ran, &secrets);
        fs::remove_file(path).unwrap();
    }
    let ran = scan_pipe(&machine, text.as_bytes()).must_exit(3);
    assert_eq!(kinds(&ran), expected, "pipe");
    assert_no_secret(&ran, &secrets);

    git(&machine, &["init", "-q"]);
    let leak = machine.file("tree/leak");
    fs::write(&leak, &text).unwrap();
    git(&machine, &["add", "."]);
    git(&machine, &["commit", "-qm", "leak"]);
    fs::remove_file(&leak).unwrap();
    git(&machine, &["commit", "-qam", "remove it"]);
    git(&machine, &["commit", "-qm", "go on", "--allow-empty"]);
    machine.run(["scan", "tree"]).must_succeed();
    let ran = scan_git(&machine, &["-o", "json"]).must_exit(3);
    assert_eq!(kinds(&ran), expected, "history");
    assert_no_secret(&ran, &secrets);
    for found in ran.json().as_array().unwrap() {
        assert_eq!(found["file"], "leak");
        assert_eq!(text_of(found, "commit").len(), 40);
    }
    // In the index alone.
    fs::write(machine.file("tree/staged"), &text).unwrap();
    git(&machine, &["add", "."]);
    fs::remove_file(machine.file("tree/staged")).unwrap();
    scan_git(&machine, &[]).must_exit(3);
}

#[test]
fn of_a_hundred_thousand_random_strings_of_the_same_shapes_none_is_found() {
    let (machine, _, _) = with_key();
    one_of_each(&machine);
    let mut text = Vec::new();
    for number in 0..100_000 {
        let draw = [
            Secret::general_key,
            Secret::user_token,
            Secret::service_integration_key,
            Secret::orchestration_integration_key,
            Secret::app_token,
        ][number % 5];
        draw(&mut SystemEntropy).unwrap().write_to(&mut text).unwrap();
        text.push(if number % 200 == 0 { b'\n' } else { b' ' });
    }
    fs::write(machine.file("tree/random"), text).unwrap();
    assert_snapshot!(machine.run(["scan", "tree"]), @"
    exit: 0
    --- stdout
    --- stderr
    ");
}

#[test]
fn what_is_found_is_told_with_its_place_and_what_it_is_good_for_and_what_ends_it() {
    let (machine, id, key) = with_key();
    let (dead, dead_key) = machine.make_key("old", &[]);
    machine.run(["remove", &dead, "--yes"]).must_succeed();
    fs::write(machine.file("tree/.env"), format!("A=1\n\nKEY={key}\nOLD={dead_key}\n")).unwrap();
    assert_snapshot!(machine.run(["scan", "tree"]), @"
    exit: 3
    --- stdout
    FILE       LINE  KIND     ID         DESCRIPTION  HINT     STATUS
    tree/.env  3     general  [K1]  ci           ...[HINT 1]  live
    tree/.env  4     general  [K2]                        removed
    --- stderr
    hint: pdkeys disable [K1] --reason key-compromise
    ");
    machine.run(["disable", &id, "--yes"]).must_succeed();
    assert_snapshot!(machine.run(["scan", "tree", "-o", "jsonl"]), @r#"
    exit: 0
    --- stdout
    {"file":"tree/.env","commit":null,"line":3,"kind":"general","id":"[K1]","description":"ci","hint":"[HINT 1]","status":"disabled"}
    {"file":"tree/.env","commit":null,"line":4,"kind":"general","id":"[K2]","description":null,"hint":null,"status":"removed"}
    --- stderr
    "#);
}

/// How much is read at a time.
const READ: usize = 1 << 18;

/// Across the end of what is read at a time, and behind and inside runs that go on for several times as much.
#[test]
fn a_key_is_found_wherever_it_lies_in_a_long_input() {
    let machine = Machine::with_store();
    let secrets = one_of_each(&machine);
    for (kind, secret) in &secrets {
        for before in [READ - 60, READ - secret.len() - 1, READ - 20, READ - 1, READ, READ + 1, 3 * READ - 7]
        {
            let mut text = b"x y\n".repeat(before.div_ceil(4));
            text.truncate(before - 1);
            text.push(b' ');
            text.extend_from_slice(secret.as_bytes());
            text.extend_from_slice(b"\nthe end\n");
            let ran = scan_pipe(&machine, &text).must_exit(3);
            assert_eq!(kinds(&ran), [*kind], "after {before} bytes");
            let line = text[..before].split(|byte| *byte == b'\n').count();
            assert_eq!(ran.json()[0]["line"], line, "after {before} bytes");
        }
    }
    let (_, integration) = &secrets[2];
    for before in [READ - 40, READ - 1, 2 * READ - 16, 2 * READ + 128, 5 * READ] {
        let mut text = vec![b'Z'; before];
        text.extend_from_slice(integration.as_bytes());
        text.extend(vec![b'Z'; READ + 3]);
        let ran = scan_pipe(&machine, &text).must_exit(3);
        assert_eq!(kinds(&ran), ["integration"], "after {before} bytes of one run");
    }
}

#[test]
fn what_git_ignores_is_left_out_unless_it_is_wanted_or_git_cannot_be_asked() {
    let (machine, _, key) = with_key();
    git(&machine, &["init", "-q"]);
    fs::write(machine.file("tree/.gitignore"), "secret.txt\n").unwrap();
    fs::write(machine.file("tree/secret.txt"), key).unwrap();
    scan(&machine, &["tree"]).must_succeed();
    scan(&machine, &["tree", "--no-ignore"]).must_exit(3);
    scan(&machine, &["tree/secret.txt"]).must_exit(3);
    machine.finish(machine.command(["scan", "tree"]).env("PATH", "/nowhere")).must_exit(3);
}

#[test]
fn what_git_tracks_is_scanned_whatever_is_ignored() {
    let (machine, id, key) = with_key();
    let script = r#"
        cd tree; git init -q -b main
        mkdir -p deep/down all; echo "$key" | tee .env deep/down/.env all/one all/two > untracked
        printf '%s\n' .env /deep untracked 'all/*' > .gitignore
        git add -f .gitignore .env deep all/one; git commit -qm 1
        git init -q nested; echo "$key" > nested/.env; echo '*' > nested/.gitignore; git -C nested add -f .env
    "#;
    with_git(&machine, &key, script);
    let expected = ["tree/.env:1", "tree/all/one:1", "tree/deep/down/.env:1", "tree/nested/.env:1"];
    assert_eq!(places(&scan(&machine, &["tree", "-o", "json"]).must_exit(3), &id), expected);
    // Where git cannot be asked, nothing is left out.
    with_git(&machine, &key, "git -C tree config core.worktree /nowhere");
    let found = places(&scan(&machine, &["tree", "-o", "json"]).must_exit(3), &id);
    assert!(expected.iter().all(|expected| found.iter().any(|found| found == expected)), "{found:#?}");
}

#[test]
fn a_directory_that_is_named_is_scanned_though_it_is_ignored() {
    let (machine, id, key) = with_key();
    let script = r#"
        cd tree; git init -q; mkdir -p build/sub globbed venv kept
        for directory in build build/sub globbed venv kept; do echo "$key" > $directory/leak; done
        echo "$key" > kept/ignored
        printf '%s\n' build/ 'globbed/*' ignored > .gitignore; echo '*' > venv/.gitignore
    "#;
    with_git(&machine, &key, script);
    for (named, expected) in [
        ("tree", vec!["tree/kept/leak:1"]),
        ("tree/kept", vec!["tree/kept/leak:1"]),
        ("tree/build", vec!["tree/build/leak:1", "tree/build/sub/leak:1"]),
        ("tree/build/sub", vec!["tree/build/sub/leak:1"]),
        ("tree/globbed", vec!["tree/globbed/leak:1"]),
        ("tree/venv", vec!["tree/venv/leak:1"]),
    ] {
        assert_eq!(places(&scan(&machine, &[named, "-o", "json"]).must_exit(3), &id), expected, "{named}");
    }
}

#[test]
fn configuration_branches_names_and_links_are_scanned_and_shown_without_the_key() {
    let (machine, id, key) = with_key();
    let script = r#"
        cd tree; git init -q -b main; git commit -q --allow-empty -m 1
        git remote add origin "https://ann:$key@example.com/web"
        git branch "fix-$key"; git pack-refs --all; git branch "$key/loose"
        mkdir "directory-$key"; echo 1 > "directory-$key/file"; echo "$key" > "directory-$key/leak"
        echo 1 > "$(printf %s "file-$key.txt" | sed 's/^/x%20/')"; ln -s "/run/$key" link
    "#;
    with_git(&machine, &key, script);
    let ran = scan(&machine, &["tree", "-o", "json"]).must_exit(3);
    assert_no_secret(&ran, &[("key", key.clone())]);
    let found = places(&ran, &id);
    for expected in [
        "tree/.git/config:7",
        "tree/.git/packed-refs:2",
        "tree/.git/refs/heads/(general KEY):0",
        "tree/directory-(general KEY):0",
        "tree/directory-(general KEY)/leak:1",
        "tree/link:1",
        "tree/x%20file-(general KEY).txt:0",
    ] {
        assert!(found.iter().any(|found| found == expected), "{expected} is not in {found:#?}");
    }
    assert!(!found.iter().any(|found| found.contains("/file:")), "{found:#?}");
    let ran = scan(&machine, &["tree"]).must_exit(3);
    assert_no_secret(&ran, &[("key", key.clone())]);
    let log = scan(&machine, &["tree", "-o", "sarif"]).must_exit(3);
    assert_no_secret(&log, &[("key", key)]);
    let log = log.json();
    let of_name =
        |result: &&serde_json::Value| result.pointer("/locations/0/physicalLocation/region").is_none();
    assert!(log["runs"][0]["results"].as_array().unwrap().iter().any(|result| of_name(&result)));
}

/// Every setting that names a program, a file or a command of git's, and every hook, leaves a mark.
#[test]
fn nothing_runs_that_a_repository_names() {
    let (machine, id, key) = with_key();
    let script = r#"
        printf '#!/bin/sh\necho "$0 $*" >> "%s/mark"\ncat\n' "$PWD" > evil; chmod +x evil; evil=$PWD/evil
        cd tree; git init -q -b main; echo "$key" > leak; echo 1 > other; git add .; git commit -qm 1
        # A commit that says that it is signed.
        signed=$(git cat-file commit HEAD | sed '/^$/,$d')
        signed=$(printf '%s\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\nsigned\n' \
            "$signed" | git hash-object -t commit -w --stdin)
        git update-ref refs/heads/main "$signed"; git rm -q --cached leak; git commit -qm 2
        for setting in alias.cat-file alias.check-ignore alias.diff-tree alias.ls-files alias.rev-parse \
            core.alternateRefsCommand core.askPass core.editor core.fsmonitor core.gitProxy core.pager core.sshCommand \
            credential.helper diff.external diff.x.command diff.x.textconv filter.x.clean filter.x.process \
            filter.x.smudge gpg.openpgp.program gpg.program gpg.ssh.program gpg.x509.program interactive.diffFilter \
            log.showSignature merge.x.driver pager.cat-file pager.diff-tree pager.log pager.ls-files \
            remote.origin.uploadpack sequence.editor uploadpack.packObjectsHook; do
            git config $setting "$evil"
        done
        for alias in cat-file check-ignore diff-tree ls-files rev-parse; do git config alias.$alias "!$evil"; done
        git config log.showSignature true; git config filter.x.required true; git config core.untrackedCache true
        # Objects that are not here would be fetched by a program.
        git config core.repositoryFormatVersion 1; git config extensions.partialClone origin
        git config remote.origin.promisor true; git config remote.origin.url "ext::$evil"
        git config protocol.allow always; git config protocol.ext.allow always
        rm -f ".git/objects/$(git rev-parse HEAD^{tree} | sed 's,..,&/,')"
        printf '* filter=x diff=x merge=x\n' | tee .gitattributes > .git/info/attributes
        git config core.hooksPath .git/hooks; mkdir -p .git/hooks
        for hook in fsmonitor-watchman post-checkout post-index-change pre-auto-gc reference-transaction; do
            ln -sf "$evil" .git/hooks/$hook
        done
        # The user's configuration may be its caller's.
        git config --file "$HOME/.gitconfig" log.showSignature true
        git config --file "$HOME/.gitconfig" gpg.program "$evil"
        git config --file "$HOME/.gitconfig" core.fsmonitor "$evil"
        git config --file "$HOME/.gitconfig" trace2.eventTarget "$HOME/mark"
        rm -f "$HOME/mark"
    "#;
    with_git(&machine, &key, script);
    let mark = machine.file("mark");
    for arguments in [
        ["tree", "-o", "json"].as_slice(),
        &["--git", "tree", "-o", "json"],
        &["--git", "tree/leak", "-o", "json"],
        &["--no-ignore", "--git", "tree", "-o", "sarif"],
    ] {
        let mut command = machine.command(["scan"]);
        let ran = machine.finish(command.args(arguments).env("HOME", machine.home()).env("PATH", programs()));
        assert!(!mark.exists(), "{arguments:?} ran {}", fs::read_to_string(&mark).unwrap());
        assert!(ran.must_exit(3).stdout.contains(&id));
    }
}

#[test]
fn history_is_that_of_the_path_whatever_the_environment_says() {
    let (machine, _, key) = with_key();
    let script = r#"
        git init -q -b main clean; git -C clean commit -q --allow-empty -m 1
        cd tree; git init -q -b main; echo "$key" > leak; git add .; git commit -qm 1; git rm -q leak; git commit -qm 2
        git worktree add -q ../linked
    "#;
    with_git(&machine, &key, script);
    let clean = machine.file("clean");
    for tree in ["tree", "linked"] {
        let mut command = machine.command(["scan", "--git", tree, "-o", "json"]);
        command.env("PATH", programs()).env("GIT_DIR", clean.join(".git")).env("GIT_WORK_TREE", &clean);
        command.env("GIT_COMMON_DIR", clean.join(".git")).env("GIT_INDEX_FILE", clean.join(".git/index"));
        command.env("GIT_OBJECT_DIRECTORY", clean.join(".git/objects")).env("GIT_PREFIX", "x/");
        command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "diff.relative");
        command.env("GIT_CONFIG_VALUE_0", "true").env("GIT_TRACE", "1").env("GIT_NAMESPACE", "x");
        let ran = machine.finish(&mut command).must_exit(3);
        assert_eq!(ran.json()[0]["file"], "leak", "{tree}");
    }
}

#[test]
fn what_is_in_history_is_named_at_each_path_with_the_first_commit() {
    let (machine, id, key) = with_key();
    let script = r#"
        cd tree; git init -q -b main
        at() { export GIT_AUTHOR_DATE="$1 +0000" GIT_COMMITTER_DATE="$1 +0000"; }
        at 1700000000; echo "$key" > one; git add .; git commit -qm one; git tag first
        at 1700000001; mkdir d; cp one 'd/t w o'; git add .; git commit -qm two; git tag second
        at 1700000002; git rm -qr .; git commit -q --allow-empty -m three
        at 1700000003; echo "$key" > one; git add .; git commit -qm again; git rm -qr .
        at 1700000004; mkdir "n-$key"; echo 1 > "n-$key/f"; git add .; git commit -qm "four $key"; git tag fourth
        at 1700000005; git rm -qr .; git commit -qm five
        git checkout -q --detach; echo "$key thrown away" > away; git add .; git commit -qm away; git tag away
        git checkout -q main; git reflog expire --expire=all --all; git tag -d away > /dev/null
        # A replacement hides nothing.
        git replace "$(git rev-parse first:one)" "$(git hash-object -w --stdin < /dev/null)"
        echo "$key staged" > staged; git add staged; rm staged
    "#;
    with_git(&machine, &key, script);
    let commit = |tag: &str| {
        let path = machine.file("tree/.git/refs/tags").join(tag);
        fs::read_to_string(path).unwrap().trim().to_owned()
    };
    let ran = scan_git(&machine, &["-o", "json"]).must_exit(3);
    assert_no_secret(&ran, &[("key", key)]);
    let found = ran.json();
    let commits: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|found| {
            (text_of(found, "file").replace(&id, "KEY"), found["commit"].as_str().map(str::to_owned))
        })
        .filter(|(file, _)| !file.starts_with("tree/.git") && file != "away")
        .collect();
    let expected = [
        ("(commit message)", Some("fourth")),
        ("d/t w o", Some("second")),
        ("n-(general KEY)", Some("fourth")),
        ("one", Some("first")),
        ("staged", None),
    ];
    assert_eq!(commits, expected.map(|(file, tag)| (file.to_owned(), tag.map(&commit))));
    assert!(
        found.as_array().unwrap().iter().any(|found| found["file"] == "away" && found["commit"].is_string())
    );
}

#[test]
fn what_history_is_not_here_is_told() {
    let (machine, id, key) = with_key();
    let script = r#"
        git init -q -b main tree; cd tree; echo "$key" > leak; git add .; git commit -qm 1; git rm -q leak
        git commit -q --allow-empty -m 2; git config uploadpack.allowFilter true; cd ..
        git clone -q --depth 1 "file://$PWD/tree" shallow
        git clone -q --filter=blob:none "file://$PWD/tree" partial
        git init -q -b main outer; cd outer
        git -c protocol.file.allow=always submodule --quiet add ../tree part 2> /dev/null; git commit -qm 1; cd ..
        cp -r outer unchecked; rm -rf unchecked/part; mkdir unchecked/part
        cp -r unchecked absent; rm -rf absent/.git/modules
        git clone -q --shared tree borrowing; sed -i s,/tree/,/gone/, borrowing/.git/objects/info/alternates
    "#;
    with_git(&machine, &key, script);
    for (tree, told) in [
        ("shallow", "the history of shallow was read in part: it is a shallow clone"),
        ("partial", "the history of partial was read in part: it is a partial clone"),
        ("absent", "the history of submodule part was not read: it is not here"),
        ("borrowing", "the history of borrowing was not read: "),
    ] {
        let ran = scan(&machine, &["--git", tree]).must_exit(1);
        assert!(ran.stderr.contains(told), "{ran}");
    }
    for tree in ["outer", "unchecked"] {
        let ran = scan(&machine, &["--git", tree, "-o", "json"]).must_exit(3);
        assert_eq!(places(&ran, &id), ["part/leak:1"], "{ran}");
        assert!(!ran.stderr.contains("warning"), "{ran}");
    }
}

#[test]
fn however_much_git_complains_nothing_waits() {
    let (machine, _, key) = with_key();
    git(&machine, &["init", "-q"]);
    fs::write(machine.file("tree/leak"), key).unwrap();
    git(&machine, &["add", "."]);
    fs::remove_file(machine.file("tree/leak")).unwrap();
    let script = r#"
        mkdir bin; real=$(command -v git); cd bin
        printf '#!/bin/sh\nhead -c 300000 /dev/zero | tr "\\0" w >&2\nexec "%s" "$@"\n' "$real" > git; chmod +x git
    "#;
    with_git(&machine, "", script);
    let mut command = machine.command(["scan", "--git", "tree"]);
    command.env("PATH", format!("{}:{}", machine.file("bin").display(), programs()));
    machine.finish(&mut command).must_exit(3);
}

#[test]
fn a_pipe_in_the_place_of_a_file_of_gits_keeps_nothing_waiting() {
    for file in [
        "HEAD",
        "config",
        "index",
        "packed-refs",
        "objects/info/alternates",
        "objects/info/commit-graph",
        "objects/pack/multi-pack-index",
        "objects/pack/pack-1234567890123456789012345678901234567890.idx",
    ] {
        let (machine, id, key) = with_key();
        let script = r#"
            cd tree; git init -q -b main; echo leak > .gitignore; echo "$key" > leak; git add -f .; git commit -qm 1
        "#;
        with_git(&machine, &key, &format!("{script} rm -f .git/{file}; mkfifo .git/{file}"));
        let ran = scan(&machine, &["--git", "tree", "-o", "json"]).must_exit(3);
        assert_eq!(places(&ran, &id), ["tree/leak:1"]);
        assert!(ran.stderr.contains(&format!("was not read: tree/.git/{file} is not a file")), "{ran}");
    }
}

#[test]
fn git_is_not_run_more_often_for_more_findings() {
    let (machine, _, key) = with_key();
    let script = r#"
        mkdir bin; real=$(command -v git)
        printf '#!/bin/sh\necho >> "%s/runs"\nexec "%s" "$@"\n' "$PWD" "$real" > bin/git; chmod +x bin/git
        cd tree; git init -q -b main
        for number in $(seq 300); do
            text="$number $key"
            printf 'commit refs/heads/main\ncommitter ann <ann> %s +0000\ndata 1\nx\n' "$number"
            printf 'M 100644 inline d%s/f\ndata %s\n%s\n' "$number" "${#text}" "$text"
        done | git fast-import --quiet
    "#;
    with_git(&machine, &key, script);
    let mut command = machine.command(["scan", "--git", "tree", "-o", "json"]);
    command.env("PATH", format!("{}:{}", machine.file("bin").display(), programs()));
    assert_eq!(machine.finish(&mut command).must_exit(3).json().as_array().unwrap().len(), 300);
    let runs = fs::read_to_string(machine.file("runs")).unwrap().lines().count();
    assert!(runs < 15, "git was run {runs} times");
}

#[test]
fn names_that_are_not_utf8_stay_apart() {
    let (machine, _, key) = with_key();
    for byte in [0xFE, 0xFF] {
        fs::write(machine.file("tree").join(OsStr::from_bytes(&[b'f', byte])), &key).unwrap();
    }
    git(&machine, &["init", "-q"]);
    git(&machine, &["add", "."]);
    git(&machine, &["commit", "-qm", "1"]);
    let ran = scan_git(&machine, &["-o", "json"]).must_exit(3);
    let files: Vec<_> = ran.json().as_array().unwrap().iter().map(|found| text_of(found, "file")).collect();
    assert_eq!(files, [r"f\xFE", r"f\xFF", r"tree/f\xFE", r"tree/f\xFF"]);
    let log = scan(&machine, &["tree", "-o", "sarif"]).must_exit(3).json();
    let uri = "/runs/0/results/1/locations/0/physicalLocation/artifactLocation/uri";
    assert_eq!(log.pointer(uri).unwrap(), "tree/f%FF");
}

/// Each character written by another form of escape.
fn each_character(text: &str, escape: impl Fn(u32) -> String) -> String {
    text.chars().map(|character| escape(u32::from(character))).collect()
}

/// Text with lines of a length, which end and begin as they are given.
fn wrapped(text: &str, length: usize, end: &str, indent: &str) -> String {
    let lines = text.as_bytes().chunks(length).map(|line| String::from_utf8_lossy(line));
    lines.flat_map(|line| [indent, &line, end].concat().chars().collect::<Vec<_>>()).collect()
}

fn utf16(text: &str, bytes_of: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes_of).collect()
}

/// A way to encode a text.
type Escape<'e> = &'e dyn Fn(&str) -> String;

#[test]
fn a_key_of_each_kind_is_found_in_each_encoding() {
    let machine = Machine::with_store();
    let secrets = one_of_each(&machine);
    let escaped: [(&str, Escape<'_>); 17] = [
        ("percent", &|text| text.replace('+', "%2B")),
        ("percent, all", &|text| each_character(text, |code| format!("%{code:02x}"))),
        ("percent, twice", &|text| text.replace('+', "%252B").replace('_', "%255F")),
        ("JSON", &|text| text.replace('+', "\\u002b").replace('_', "\\u005F")),
        ("JSON, all", &|text| each_character(text, |code| format!("\\u{code:04X}"))),
        ("JSON in JSON", &|text| text.replace('+', "\\\\u002b")),
        ("programs", &|text| text.replace('+', "\\x2B").replace('-', "\\x2d")),
        ("octal", &|text| text.replace('+', "\\053").replace('_', "\\137")),
        ("Markdown", &|text| text.replace('+', "\\+").replace('_', "\\_").replace('-', "\\-")),
        ("decimal entity", &|text| text.replace('+', "&#43;").replace('_', "&#95;")),
        ("hexadecimal entity", &|text| text.replace('+', "&#x2b;").replace('-', "&#x2D;")),
        ("named entity", &|text| text.replace('+', "&plus;").replace('_', "&lowbar;")),
        ("entity in HTML in HTML", &|text| text.replace('+', "&amp;#43;")),
        ("entities, all", &|text| each_character(text, |code| format!("&#{code};"))),
        ("mail", &|text| text.replace('+', "=2B").replace('_', "=5F")),
        ("Base64 in a URL", &|text| STANDARD.encode(text).replace('=', "%3D").replace('+', "%2B")),
        ("Base64 twice", &|text| STANDARD.encode(STANDARD.encode(format!("x:{text}")))),
    ];
    for (kind, secret) in &secrets {
        let found = |encoding: &str, text: &[u8], line: u64| {
            let ran = scan_pipe(&machine, text).must_exit(3);
            assert_eq!(kinds(&ran), [*kind], "{encoding}");
            assert_eq!(ran.json()[0]["line"], line, "{encoding}");
            assert_no_secret(&ran, &secrets);
        };
        for (encoding, escape) in escaped {
            found(encoding, format!("a\nb c=\"{}\" d\ne", escape(secret)).as_bytes(), 2);
        }
        for before in ["", "u", "u:", "usr", "user:"] {
            let text = format!("{before}{secret}");
            found("Base64", format!("Authorization: Basic {}\n", STANDARD.encode(&text)).as_bytes(), 1);
            found("Base64 for URLs", format!("/{}/", URL_SAFE_NO_PAD.encode(text + "?>")).as_bytes(), 1);
        }
        let text = format!("a\nkey={secret}\n");
        for (encoding, mut bytes) in
            [("UTF-16LE", utf16(&text, u16::to_le_bytes)), ("UTF-16BE", utf16(&text, u16::to_be_bytes))]
        {
            found(encoding, &bytes, 2);
            found("UTF-16 in Base64", STANDARD.encode(&bytes).as_bytes(), 1);
            bytes.splice(0..0, if encoding == "UTF-16LE" { [0xFF, 0xFE] } else { [0xFE, 0xFF] });
            found(encoding, &bytes, 2);
            bytes.insert(0, b'x');
            found(encoding, &bytes, 2);
        }
        found("Base64 in UTF-16", &utf16(&STANDARD.encode(secret), u16::to_le_bytes), 1);
    }
}

#[test]
fn a_key_is_found_in_wrapped_base64_wherever_the_lines_break() {
    let (machine, _, key) = with_key();
    let mut text = String::new();
    for before in 0..80 {
        let encoded = STANDARD.encode(format!("{}\n{key}\n{}", "\u{7F}".repeat(before), "\u{7F}".repeat(80)));
        writeln!(text, "--\n{}", wrapped(&encoded, 76, "\n", "    ")).unwrap();
        writeln!(text, "--\n{}", wrapped(&encoded, 64, "\r\n", "")).unwrap();
    }
    let ran = scan_pipe(&machine, text.as_bytes()).must_exit(3);
    assert_eq!(ran.json().as_array().unwrap().len(), 160);
}

#[test]
fn what_is_encoded_is_found_wherever_it_lies_in_a_long_input() {
    let machine = Machine::with_store();
    let (_, token) = machine.make_token("ann", "laptop", &[]);
    for before in
        [READ - 4096, READ - 2048, READ - 2047, READ - 20, READ - 1, READ, READ + 1, 3 * READ - 2050]
    {
        for encoded in [token.replace('+', "&#43;"), STANDARD.encode(format!("ann:{token}"))] {
            let mut text = "x y\n".repeat(before.div_ceil(4));
            text.truncate(before - 1);
            let line = text.matches('\n').count() + 1;
            text = format!("{text} {encoded}\n{}", "z\n".repeat(READ));
            let ran = scan_pipe(&machine, text.as_bytes()).must_exit(3);
            assert_eq!(ran.json().as_array().unwrap().len(), 1, "{encoded} after {before} bytes");
            assert_eq!(ran.json()[0]["line"], line, "{encoded} after {before} bytes");
        }
    }
    // Inside of Base64 that goes on for longer than is read at a time.
    let mut text = vec![0x7F; 2 * READ];
    text.splice(READ + 5..READ + 5, token.bytes());
    scan_pipe(&machine, STANDARD.encode(text).as_bytes()).must_exit(3);
}

#[test]
fn pipes_loops_and_archives_are_passed_over_and_what_is_named_and_cannot_be_read_is_told() {
    let (machine, _, key) = with_key();
    machine.run_shell("mkfifo tree/fifo").must_succeed();
    symlink("..", machine.file("tree/loop")).unwrap();
    symlink("nowhere", machine.file("tree/dangling")).unwrap();
    fs::write(machine.file("tree/archive.zip"), format!("PK\x03\x04{key}")).unwrap();
    assert_snapshot!(machine.run(["scan", "tree"]), @"
    exit: 0
    --- stdout
    --- stderr
    warning: 1 archive or compressed file was not looked into; unpack what is to be scanned
    ");
    assert_snapshot!(machine.run(["scan", "gone"]), @"
    exit: 1
    --- stdout
    --- stderr
    warning: gone: No such file or directory (os error 2)
    ");
    assert_snapshot!(machine.run(["scan", "tree/fifo"]), @"
    exit: 1
    --- stdout
    --- stderr
    warning: tree/fifo was not read: not a file
    ");
    // Without a repository there is no history.
    scan_git(&machine, &[]).must_exit(1);
    if can_be_others() {
        for link in ["tree/loop", "tree/dangling"] {
            fs::remove_file(machine.file(link)).unwrap();
        }
        let unreadable = machine.file("tree/unreadable");
        fs::write(&unreadable, key).unwrap();
        machine.give_to(SOMEBODY);
        set_mode(&unreadable, 0o000);
        assert_snapshot!(machine.run_as(SOMEBODY, ["scan", "tree"]), @"
        exit: 1
        --- stdout
        --- stderr
        warning: tree/unreadable was not read: Permission denied (os error 13)
        warning: 1 archive or compressed file was not looked into; unpack what is to be scanned
        ");
    }
}

/// Closing one of them would take away the locks that the process itself has on it.
#[test]
fn the_files_of_the_store_are_not_opened_whatever_they_are_called() {
    let (machine, ..) = with_key();
    let store = machine.directory();
    symlink(store.join("pdkeys.db"), machine.file("tree/linked")).unwrap();
    machine.run(["scan", "tree"]).must_succeed();
    for file in [machine.file("tree/linked"), store.join("pdkeys.db"), store.join("pdkeys.storekey")] {
        let ran = machine.run(["scan", file.to_str().unwrap()]).must_exit(1);
        assert!(ran.to_string().contains("was not read: it is a file of the store"), "{ran}");
    }
    // By a link to it as well, beside which there is nothing of SQLite's.
    let link = machine.file("tree/link.db");
    symlink(store.join("pdkeys.db"), &link).unwrap();
    let mut command = machine.command(["scan"]);
    command.arg(store.join("pdkeys.db-shm")).env("PDKEYS_STORE", &link);
    command.env("PDKEYS_STORE_KEY_FILE", store.join("pdkeys.storekey"));
    let ran = machine.ran(command.output().unwrap()).must_exit(1);
    assert!(ran.to_string().contains("was not read: it is a file of the store"), "{ran}");
}

#[test]
fn a_sparse_file_of_ten_gigabytes_takes_neither_memory_nor_time() {
    let (machine, _, key) = with_key();
    let mut file = File::create(machine.file("tree/sparse")).unwrap();
    for at in [1 << 20, 10 << 30] {
        file.seek(SeekFrom::Start(at)).unwrap();
        writeln!(file, "{key}").unwrap();
    }
    file.set_len(11 << 30).unwrap();
    drop(file);
    // 512 MiB of address space: far less than the file, and enough for the program.
    let ran = machine.run_shell("ulimit -v 524288; exec \"$pdkeys\" scan tree -o json").must_exit(3);
    let lines: Vec<_> = ran.json().as_array().unwrap().iter().map(|found| found["line"].clone()).collect();
    assert_eq!(lines, [1, 2]);
}

#[test]
fn disable_asks_and_disables_the_general_keys_that_work() {
    let (machine, id, key) = with_key();
    let (_, token) = machine.make_token("ann", "laptop", &[]);
    fs::write(machine.file("tree/leak"), format!("{key}\n{token}\n")).unwrap();
    machine.refuses(["scan", "tree", "--disable"]).must_exit(6);
    assert_snapshot!(machine.run(["scan", "tree", "--disable", "--yes"]), @"
    exit: 3
    --- stdout
    FILE       LINE  KIND        ID         DESCRIPTION  HINT     STATUS
    tree/leak  1     general     [K1]  ci           ...[HINT 1]  live
    tree/leak  2     user-token  [T1]  laptop       ...[HINT 2]  live
    --- stderr
    hint: pdkeys token remove [T1] --reason key-compromise
    Disabled key [K1] (ci, ...[HINT 1])
    ");
    let shown = machine.run(["show", &id, "-o", "json"]).must_succeed().json();
    assert_eq!((&shown["status"], &shown["disabled_reason"]), (&"disabled".into(), &"key-compromise".into()));
    machine.run(["user", "add", "otto", "--role", "observer"]).must_succeed();
    machine.run(["enable", &id]).must_succeed();
    machine.refuses(["scan", "tree", "--disable", "--yes", "--as", "otto"]).must_exit(4);
}

#[test]
fn sarif_is_for_scan_alone() {
    let (machine, id, key) = with_key();
    fs::write(machine.file("tree/a b.txt"), format!("\n{key}\n")).unwrap();
    let log = machine.run(["scan", "tree", "-o", "sarif"]).must_exit(3).json();
    assert_eq!(log["version"], "2.1.0");
    let result = &log["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"live-credential".into(), &"error".into()));
    assert_eq!(result["message"]["text"], format!("general {id} (ci) is live"));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "tree/a%20b.txt");
    assert_eq!(place["region"]["startLine"], 2);
    machine.refuses(["list", "-o", "sarif"]).must_exit(2);
    machine.refuses(["create", "ci", "-o", "sarif"]).must_exit(2);
}

#[test]
fn the_pre_commit_hook_stops_a_commit_that_adds_a_key() {
    let (machine, id, key) = with_key();
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/pre-commit");
    git(&machine, &["init", "-q"]);
    let tree = machine.file("tree");
    let commit = || {
        let path = format!("{}:{}", crate::session::pdkeys().parent().unwrap().display(), programs());
        let mut hook = Command::new(&hook);
        hook.env_clear().env("PATH", path).env("HOME", machine.home()).env("XDG_DATA_HOME", machine.home());
        machine.finish(hook.current_dir(&tree))
    };
    fs::write(tree.join("config"), format!("key = {key}\n")).unwrap();
    commit().must_succeed();
    git(&machine, &["add", "."]);
    let ran = commit().must_exit(1);
    assert!(ran.stderr.contains("would be committed") && ran.stdout.contains(&id), "{ran}");
    // It got in all the same: taking it out is no leak.
    git(&machine, &["commit", "-qm", "leak", "--no-verify"]);
    fs::write(tree.join("config"), "key = from the environment\n").unwrap();
    git(&machine, &["add", "."]);
    commit().must_succeed();
}

#[test]
fn scan_without_a_store_or_a_store_key_never_says_that_nothing_is_there() {
    let (machine, _, key) = with_key();
    fs::write(machine.file("tree/leak"), key).unwrap();
    fs::rename(machine.store_key(), machine.file("away")).unwrap();
    machine.run(["scan", "tree"]).must_exit(1);
    Machine::new().run(["scan", "/dev/null"]).must_exit(1);
}
