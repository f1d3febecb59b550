//! Who may know whom: the walls between the parts of the program, held by reading its source.
//!
//! The linter holds some of them too; here they stand whatever is expected or configured away.

#![expect(clippy::unwrap_used, reason = "what a test needs and cannot get fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One file of `src`: its path below it, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_library(&self) -> bool {
        !self.path.starts_with("bin/")
    }

    /// The code alone: comments and what stands in quotes are blanked out, and unit tests left off.
    fn code(&self) -> String {
        let code = blank(&self.text);
        code.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
    }
}

impl Source {
    /// The part of the library that the file belongs to: its first directory, or its name.
    fn part(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The parts of the library that the file names, by `crate::` or by a chain of `super::` that leads to the root.
    fn parts_named(&self) -> BTreeSet<String> {
        let code = blank(&self.text);
        let is_nested = !self.path.ends_with("mod.rs");
        let depth = self.path.split('/').count() - 1 + usize::from(is_nested);
        let to_root = "super::".repeat(depth.max(1));
        let mut named = modules_named(&code, "crate::");
        named.extend(modules_named(&self.code(), &to_root));
        named
    }
}

fn sources() -> Vec<Source> {
    fn visit(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    visit(&root, &mut files);
    files.sort();
    let sources: Vec<_> = files
        .into_iter()
        .map(|file| Source {
            path: file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(&file).unwrap(),
        })
        .collect();
    for expected in ["lib.rs", "ports.rs", "authz/table.rs", "store/sqlite/mod.rs", "bin/pdkeys/main.rs"] {
        assert!(sources.iter().any(|source| source.path == expected), "{expected} has moved");
    }
    sources
}

/// Blanks out line comments, strings and characters.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = raw_string(rest) {
            raw
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            0
        };
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// The length of a literal in quotes, with what is escaped in it.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + character.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?.bytes().take_while(|byte| *byte == b'#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let inside = text[1 + hashes..].strip_prefix('"')?;
    Some(inside.find(&end).map_or(text.len(), |at| 2 + hashes + at + end.len()))
}

/// Whether a quote begins a character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

/// The words of code.
fn words(code: &str) -> BTreeSet<&str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect()
}

/// What stands right after the root of a path, also in braces.
fn modules_named(code: &str, root: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for after in code.split(root).skip(1) {
        let group = after.strip_prefix('{').map(|group| {
            let mut depth = 0_u32;
            group
                .split(',')
                .filter(|part| {
                    let outermost = depth == 0;
                    for c in part.chars() {
                        match c {
                            '{' => depth += 1,
                            '}' => depth = depth.saturating_sub(1),
                            _ => {}
                        }
                    }
                    outermost
                })
                .map(str::trim)
                .collect::<Vec<_>>()
        });
        for path in group.unwrap_or_else(|| vec![after]) {
            named.extend(path.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().map(str::to_owned));
        }
    }
    named.remove("");
    named
}

/// The files of a crate by the paths of their modules, and which files each imports from.
///
/// A name that a module re-exports counts as imported from the file that defines it, and unit tests are left off.
struct Imports {
    files: BTreeMap<Vec<String>, Source>,
    /// What each module re-exports: the name, and the path that it stands for.
    exports: BTreeMap<Vec<String>, BTreeMap<String, Vec<String>>>,
}

impl Imports {
    /// Reads the files below a directory of `src` whose crate root is one of `main.rs` and `lib.rs`.
    fn of(sources: impl IntoIterator<Item = Source>) -> Self {
        let mut files = BTreeMap::new();
        for source in sources {
            let mut module: Vec<_> =
                source.path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            if ["mod", "main", "lib"].contains(&module.last().unwrap().as_str()) {
                module.pop();
            }
            files.insert(module, source);
        }
        let mut imports = Self { files, exports: BTreeMap::new() };
        for (module, source) in &imports.files {
            let mut exports = BTreeMap::new();
            for (is_public, path, name) in uses(&source.code()) {
                if is_public && let Some(path) = imports.absolute(module, &path) {
                    exports.insert(name, path);
                }
            }
            imports.exports.insert(module.clone(), exports);
        }
        imports
    }

    /// Returns a path from the crate root, if it is one into the crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let mut base = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => module.to_vec(),
            child => {
                let mut below = module.to_vec();
                below.push(child.to_owned());
                if !self.files.contains_key(&below) {
                    return None;
                }
                module.to_vec()
            }
        };
        for segment in path {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                _ => base.push(segment.clone()),
            }
        }
        Some(base)
    }

    /// Returns the module whose file a path from the crate root leads into.
    fn file_of(&self, path: &[String]) -> Option<Vec<String>> {
        let depth = (0..=path.len()).rev().find(|depth| self.files.contains_key(&path[..*depth]))?;
        let (module, rest) = path.split_at(depth);
        if let Some((name, rest)) = rest.split_first()
            && let Some(exported) = self.exports.get(module).and_then(|exports| exports.get(name))
        {
            return self.file_of(&[exported, rest].concat());
        }
        Some(module.to_vec())
    }

    /// Returns the modules that each module imports from.
    fn graph(&self) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
        let mut graph = BTreeMap::new();
        for (module, source) in &self.files {
            let code = source.code();
            let used = uses(&code);
            let local: BTreeMap<_, _> = used.iter().map(|(_, path, name)| (name, path)).collect();
            let inline = paths(&without_uses(&code)).into_iter().map(|path| match local.get(&path[0]) {
                Some(imported) => [imported, &path[1..]].concat(),
                None => path,
            });
            let imported = used.iter().filter(|(is_public, ..)| !is_public).map(|(_, path, _)| path.clone());
            let mut named: BTreeSet<_> = imported
                .chain(inline)
                .filter_map(|path| self.file_of(&self.absolute(module, &path)?))
                .collect();
            named.remove(module);
            graph.insert(module.clone(), named);
        }
        graph
    }
}

/// Returns the modules that lead back to themselves, each with what it imports from the others of its circle.
fn circles(graph: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Vec<String> {
    let reached = |from: &Vec<String>| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<_> = graph[from].iter().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(&graph[module]);
            }
        }
        seen
    };
    let in_circles: Vec<_> = graph.keys().filter(|module| reached(module).contains(module)).collect();
    let describe = |module: &&Vec<String>| {
        let imports = graph[*module].iter().filter(|other| in_circles.contains(other));
        let imports: Vec<_> = imports.map(|other| other.join("::")).collect();
        format!("{} -> {}", module.join("::"), imports.join(", "))
    };
    in_circles.iter().map(describe).collect()
}

/// Returns the imports of a file: whether it re-exports, the path, and the name in this file.
fn uses(code: &str) -> Vec<(bool, Vec<String>, String)> {
    fn expand(tree: &str, before: &[String], is_public: bool, found: &mut Vec<(bool, Vec<String>, String)>) {
        let tree = tree.trim();
        if let Some((head, group)) = tree.split_once('{') {
            let head = head.split("::").map(str::trim).filter(|segment| !segment.is_empty());
            let before: Vec<_> = before.iter().cloned().chain(head.map(str::to_owned)).collect();
            let group = group.strip_suffix('}').unwrap();
            let (mut depth, mut from) = (0_u32, 0);
            for (at, character) in group.char_indices().chain([(group.len(), ',')]) {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        expand(&group[from..at], &before, is_public, found);
                        from = at + 1;
                    }
                    _ => {}
                }
            }
        } else if !tree.is_empty() {
            let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
            let mut path: Vec<_> = path.split("::").map(|segment| segment.trim().to_owned()).collect();
            path.splice(0..0, before.iter().cloned());
            if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let name = if name.is_empty() { path.last().unwrap().clone() } else { name.trim().to_owned() };
            found.push((is_public, path, name));
        }
    }
    let mut found = Vec::new();
    for (is_public, tree) in use_items(code) {
        expand(tree, &[], is_public, &mut found);
    }
    found
}

/// Returns the trees of `use` items, and whether they re-export.
fn use_items(code: &str) -> Vec<(bool, &str)> {
    let mut items = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = code[line..at].trim();
        if before.is_empty() || before.starts_with("pub") {
            let rest = &code[at + "use ".len()..];
            items.push((!before.is_empty(), &rest[..rest.find(';').unwrap()]));
        }
    }
    items
}

fn without_uses(code: &str) -> String {
    use_items(code).into_iter().fold(code.to_owned(), |code, (_, tree)| code.replacen(tree, "", 1))
}

/// Returns the paths in code that have more than one segment.
fn paths(code: &str) -> Vec<Vec<String>> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| word.contains("::"))
        .map(|word| {
            let segments = word.split("::").filter(|segment| !segment.is_empty());
            segments.map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|path| path.len() > 1)
        .collect()
}

fn package() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().clone();
    packages.into_iter().find(|package| package["name"] == "pdkeys").unwrap()
}

/// The dependencies that are switched on by features.
fn optional_dependencies(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies
        .filter(|dependency| dependency["optional"] == true)
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_library_names_no_crate_of_the_command_line_or_the_server() {
    let banned: Vec<_> =
        optional_dependencies(&package()).into_iter().map(|name| name.replace('-', "_")).collect();
    assert!(banned.iter().any(|name| name == "clap"), "{banned:?}");
    for source in sources().iter().filter(|source| source.is_library()) {
        let code = blank(&source.text);
        for banned in &banned {
            assert!(!words(&code).contains(banned.as_str()), "{} names {banned}", source.path);
        }
    }
}

#[test]
fn the_library_knows_no_stream_environment_or_process() {
    const BANNED: [&str; 13] = [
        "stdin", "stdout", "stderr", "println", "eprintln", "print", "eprint", "dbg", "env", "args_os",
        "process", "exit", "abort",
    ];
    for source in sources().iter().filter(|source| source.is_library()) {
        let code = source.code();
        for banned in BANNED {
            assert!(!words(&code).contains(banned), "{} names {banned}", source.path);
        }
    }
}

/// The parts of the library, each with the parts that it may name: itself, and parts that stand above it in this list.
/// An entry that named a later part would allow a cycle; `the_parts_of_the_library_are_in_order` refuses it.
const MAY_NAME: [(&str, &[&str]); 8] = [
    ("ports", &[]),
    ("model", &["ports"]),
    ("authz", &["model"]),
    ("error", &["ports", "model", "authz"]),
    ("store", &["ports", "model", "authz", "error"]),
    ("verify", &["ports", "model", "error", "store"]),
    ("scan", &["model", "error", "store"]),
    ("manage", &["ports", "model", "authz", "error", "store"]),
];

#[test]
fn the_parts_of_the_library_are_in_order() {
    for (place, (part, may_name)) in MAY_NAME.iter().enumerate() {
        for named in *may_name {
            assert!(MAY_NAME[..place].iter().any(|(earlier, _)| earlier == named), "{part} may name {named}");
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    let mut seen = BTreeSet::new();
    for source in sources().iter().filter(|source| source.is_library() && source.path != "lib.rs") {
        let part = source.part();
        let (_, may_name) = MAY_NAME
            .iter()
            .find(|(name, _)| *name == part)
            .unwrap_or_else(|| panic!("{} is in no part of the library", source.path));
        for named in source.parts_named() {
            assert!(
                named == part || may_name.contains(&named.as_str()),
                "{} names {named}, and {part} may not",
                source.path
            );
        }
        seen.insert(part.to_owned());
    }
    assert_eq!(seen, MAY_NAME.iter().map(|(part, _)| (*part).to_owned()).collect());
}

#[test]
fn only_the_store_knows_its_engine() {
    for source in sources().iter().filter(|source| source.is_library() && !source.path.starts_with("store/"))
    {
        assert!(!words(&source.code()).contains("sqlite"), "{} knows the engine", source.path);
    }
}

#[test]
fn only_the_store_speaks_sql() {
    const STATEMENTS: [&str; 5] = ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE FROM", "PRAGMA "];
    let mut heard = 0;
    for source in sources() {
        let speaks = STATEMENTS.iter().any(|statement| source.text.contains(statement))
            || words(&source.code()).contains("rusqlite");
        if source.path.starts_with("store/sqlite/") {
            heard += usize::from(speaks);
        } else {
            assert!(!speaks, "{} speaks SQL", source.path);
        }
    }
    assert!(heard > 0, "the store is silent");
}

/// One file each, so that one look finds every use.
#[test]
fn tables_prompts_and_the_time_have_one_door_each() {
    for (word, door) in [
        ("comfy_table", "bin/pdkeys/output/table.rs"),
        ("signal_hook", "bin/pdkeys/prompt.rs"),
        ("indicatif", "bin/pdkeys/terminal.rs"),
        ("SysRng", "ports.rs"),
        ("SystemTime", "ports.rs"),
    ] {
        for source in sources().iter().filter(|source| source.path != door) {
            assert!(!words(&blank(&source.text)).contains(word), "{} names {word}", source.path);
        }
    }
    let tell_the_time = |source: &&Source| {
        let code = source.code();
        ["Timestamp::now", "Zoned::now", "Instant::now"].iter().any(|now| code.contains(now))
            && source.path != "bin/pdkeys/terminal.rs"
    };
    let telling: Vec<_> = sources().iter().filter(tell_the_time).map(|source| source.path.clone()).collect();
    assert_eq!(telling, ["ports.rs"]);
}

#[test]
fn the_features_carry_what_the_library_does_without() {
    let package = package();
    let optional = optional_dependencies(&package);
    for name in [
        "anstream",
        "clap",
        "clap_complete",
        "clap_mangen",
        "comfy-table",
        "csv",
        "csv-core",
        "signal-hook",
        "directories",
        "ignore",
        "indicatif",
    ] {
        assert!(optional.contains(name), "{name} is not optional");
    }
    let features = &package["features"];
    let carried: BTreeSet<_> = ["cli", "serve"]
        .into_iter()
        .flat_map(|feature| features[feature].as_array().unwrap())
        .filter_map(|part| part.as_str().unwrap().strip_prefix("dep:").map(str::to_owned))
        .collect();
    assert_eq!(carried, optional, "each optional dependency belongs to the command line or the server");
    assert_eq!(features["default"], serde_json::json!(["cli", "serve"]));
    for target in package["targets"].as_array().unwrap() {
        if target["kind"][0] == "bin" {
            assert_eq!(target["required-features"], serde_json::json!(["cli"]), "{}", target["name"]);
        }
    }
}

/// A file that can be understood only together with a file that imports from it is half a file.
#[test]
fn no_file_of_the_command_line_imports_from_itself_through_others() {
    let below = "bin/pdkeys/";
    let sources = sources().into_iter().filter(|source| source.path.starts_with(below));
    let imports = Imports::of(
        sources.map(|source| Source { path: source.path[below.len()..].to_owned(), text: source.text }),
    );
    let graph = imports.graph();
    let name = |path: &str| -> Vec<String> { path.split("::").map(str::to_owned).collect() };
    assert!(graph[&name("commands")].contains(&name("commands::keys")), "a command is called");
    assert!(graph[&name("commands::keys")].contains(&name("session")), "a command has a session");
    assert_eq!(circles(&graph), Vec::<String>::new());
}

#[test]
fn no_use_case_or_check_imports_from_itself_through_others() {
    let graph = Imports::of(sources().into_iter().filter(Source::is_library)).graph();
    assert!(graph[&vec!["manage".to_owned(), "keys".to_owned()]].len() > 2);
    let circles: Vec<_> = circles(&graph)
        .into_iter()
        .filter(|circle| ["manage", "verify", "scan"].iter().any(|part| circle.starts_with(part)))
        .collect();
    assert_eq!(circles, Vec::<String>::new());
}

#[test]
fn imports_are_followed_through_groups_re_exports_and_paths() {
    let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let imports = Imports::of([
        file("lib.rs", "pub mod a; pub mod b;\npub use a::x::X;\n"),
        file("a/mod.rs", "mod x;\nmod y;\npub use x::X;\npub(crate) use y::{Y as Why, Z};\n"),
        file("a/x.rs", "use super::Why;\nfn f() { std::fs::read(crate::b::PATH); }\n"),
        file("a/y.rs", "use std::fs;\npub struct Y;\n"),
        file(
            "b.rs",
            "use crate::{X, a::{self, Z}};\nfn g() { a::Why::new() }\n#[cfg(test)] mod tests { use crate::c::D; }\n",
        ),
    ]);
    let graph = imports.graph();
    let named = |module: &str| {
        let module: Vec<_> = module.split("::").map(str::to_owned).collect();
        graph[&module].iter().map(|other| other.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(named("a::x"), ["a::y", "b"]);
    assert_eq!(named("a::y"), Vec::<String>::new());
    assert_eq!(named("b"), ["a", "a::x", "a::y"]);
    assert_eq!(circles(&graph), ["a::x -> b", "b -> a::x"]);
}

/// The walls are only as good as the eyes that watch them.
#[test]
fn reading_source_tells_code_from_comments_and_quotes() {
    let code = blank(
        "let a = \"clap \\\" dbg\"; // stdout\nfn f<'env>(c: char) { c == '\"' } r#\"exit \"\"#; stdin '\\''",
    );
    let words: Vec<_> = words(&code).into_iter().collect();
    assert_eq!(words, ["a", "c", "char", "env", "f", "fn", "let", "stdin"]);
    let named: Vec<_> = modules_named(
        "use crate::store::{a, b}; use crate::{error::{X, y::Z}, verify}; crate::model::M",
        "crate::",
    )
    .into_iter()
    .collect();
    assert_eq!(named, ["error", "model", "store", "verify"]);
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let nested =
        source("store/sqlite/keys.rs", "use super::super::super::manage::X; use super::super::query::Y;");
    assert_eq!((nested.part(), nested.parts_named()), ("store", BTreeSet::from(["manage".to_owned()])));
    let head = source("model/mod.rs", "pub use id::Id; use super::error::Error; mod tests { use super::*; }");
    assert_eq!((head.part(), head.parts_named()), ("model", BTreeSet::from(["error".to_owned()])));
}
