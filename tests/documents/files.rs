//! The source files that pages name, in the map of docs/architecture.md and in prose, exist.

use std::fs;
use std::path::Path;

use regex::Regex;

use crate::page::Page;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the paths that a map names. Its lines begin with a directory (`model/`), a file (`id.rs`) or several modules
/// (`account app`), indented by two blanks below their directory; lines that are indented further continue the text of
/// the line before.
fn mapped(map: &[String]) -> Vec<String> {
    let (mut directories, mut paths): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for line in map {
        let text = line.trim_start();
        let depth = (line.len() - text.len()) / 2;
        if depth > directories.len() {
            continue;
        }
        directories.truncate(depth);
        let below = directories.concat();
        let (name, _) = text.split_once("  ").unwrap_or((text, ""));
        if name.ends_with('/') {
            directories.push(name.to_owned());
            paths.push(format!("{below}{name}"));
        } else if name.contains('.') {
            paths.push(format!("{below}{}", name.split(' ').next().unwrap()));
        } else {
            paths.extend(name.split(' ').map(|module| format!("{below}{module}.rs")));
        }
    }
    paths
}

#[test]
fn the_map_names_files_that_exist() {
    let page = Page::read("docs/architecture.md");
    let blocks = page.blocks();
    let map = blocks.iter().find(|block| block.section == "The map").unwrap();
    let paths = mapped(&map.lines);
    assert!(paths.len() > 80, "{paths:?}");
    let missing: Vec<_> = paths.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "not there: {missing:?}");
}

/// Returns the paths of all files below some directories of the repository.
fn files() -> Vec<String> {
    fn visit(directory: &Path, files: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, files);
            } else {
                files.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut files = Vec::new();
    for directory in ["benches", "examples", "src", "tests"] {
        visit(&root().join(directory), &mut files);
    }
    files
}

/// Prose may leave out the directories at the beginning of a path: `manage/keys.rs`.
#[test]
fn source_files_in_prose_exist() {
    let (files, name) = (files(), Regex::new(r"`([a-z0-9_./-]+\.(?:rs|tsv|txt))`").unwrap());
    let (mut found, mut missing) = (0, Vec::new());
    for page in ["CONTRIBUTING.md", "docs/architecture.md", "docs/checking.md"] {
        for line in Page::read(page).prose() {
            for name in name.captures_iter(&line).map(|found| found[1].to_owned()) {
                let end = format!("/{name}");
                if !files.iter().any(|file| *file == name || file.ends_with(&end)) {
                    missing.push(format!("{page}: {name}"));
                }
                found += 1;
            }
        }
    }
    assert!(found > 40, "only {found} names were found");
    assert!(missing.is_empty(), "not there: {missing:?}");
}
