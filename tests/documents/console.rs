//! Follows every page: its commands run in one shell, in one home directory, in the order in which they stand there.
//!
//! A block that configures nginx or Caddy starts that gateway, which replaces the one before. After a change that is meant,
//! `UPDATE_GOLDEN=1 cargo test --test documents` writes what is printed into the pages.

use std::env;
use std::fs;
use std::path::Path;
use std::thread;

use regex::Regex;

use crate::compare::{Difference, Names, Shapes, as_ada, compare, this_user};
use crate::page::{Block, Page, in_repository};
use crate::ports::{self, Ports};
use crate::process::Process;
use crate::programs;
use crate::shell::Shell;

/// What a fenced block is to a reader who follows the page.
enum Role {
    /// Commands and what they print.
    Session,
    /// Commands that must succeed.
    Script,
    /// The configuration of a gateway.
    Gateway(fn(&Path, &str) -> std::process::Command),
    /// Something to read, or commands that need root, the network or a build.
    Shown,
}

fn role(block: &Block) -> Role {
    match block.language.as_str() {
        "console" => Role::Session,
        "sh" => match block.lines[0].split_whitespace().next().unwrap_or_default() {
            "cargo" | "tests/run" | "sudo" | "mkdir" => Role::Shown,
            _ => Role::Script,
        },
        "nginx" => Role::Gateway(programs::nginx),
        "caddyfile" => Role::Gateway(programs::caddy),
        _ => Role::Shown,
    }
}

/// A page that was followed: how many steps it has, which of them differ, and the scripts that fail.
struct Followed {
    steps: usize,
    differences: Vec<Difference>,
    failures: Vec<String>,
}

fn follow(page: &Page) -> Followed {
    let mut blocks = page.blocks();
    if !cfg!(target_os = "linux") {
        // The gateways are installed on Linux alone.
        let with_gateways: Vec<_> = blocks
            .iter()
            .filter(|block| matches!(role(block), Role::Gateway(_)))
            .map(|block| block.section.clone())
            .collect();
        blocks.retain(|block| !with_gateways.contains(&block.section));
    }
    let home = tempfile::tempdir().unwrap();
    let home = home.path().canonicalize().unwrap();
    let login = Regex::new(&format!(r"\b{}\b", regex::escape(&this_user("-un")))).unwrap();
    let (uid, shapes, ports) = (this_user("-u"), Shapes::new(), Ports::new());
    let (mut shell, mut names) = (Shell::new(&home), Names::default());
    let mut gateway: Option<Process> = None;
    let mut followed = Followed { steps: 0, differences: Vec::new(), failures: Vec::new() };
    for block in &blocks {
        match role(block) {
            Role::Session => {
                for step in page.steps(block) {
                    let printed: Vec<_> = shell
                        .run(&ports.here(&names.translate(&step.command)))
                        .iter()
                        .map(|line| as_ada(&ports.shown(line), &home, &login))
                        .collect();
                    let compared = compare(page, &step, &printed, &shapes, &mut names, &uid);
                    followed.differences.extend(compared.err());
                    followed.steps += 1;
                    if step.command.ends_with('&') {
                        let serves = step.command.contains("pdkeys serve ");
                        ports.wait_for(if serves { ports::PDKEYS } else { ports::API });
                    }
                }
            }
            Role::Script => {
                let printed = shell.run(&names.translate(&block.lines.join("\n"))).join("\n");
                let last = shell.last();
                if last != "0" {
                    let fault = format!("{}:{}: exits with {last}\n{printed}\n", page.path, block.line);
                    followed.failures.push(fault);
                }
            }
            Role::Gateway(command) => {
                // The next one listens on the same port.
                drop(gateway.take());
                let directory = home.join(&block.language);
                fs::create_dir(&directory).unwrap();
                let command = command(&directory, &ports.here(&block.lines.join("\n")));
                let ready = || ports.is_listening(ports::GATEWAY);
                gateway = Some(Process::start(&command, directory.join("log"), ready).unwrap());
            }
            Role::Shown => {}
        }
    }
    followed
}

/// Follows all pages at the same time.
fn follow_all(pages: &[Page]) -> Vec<Followed> {
    thread::scope(|scope| {
        let running: Vec<_> = pages.iter().map(|page| scope.spawn(|| follow(page))).collect();
        running.into_iter().map(|page| page.join().unwrap()).collect()
    })
}

const UPDATE: &str = "UPDATE_GOLDEN=1 cargo test --test documents";

#[test]
#[expect(clippy::disallowed_methods, reason = "a test is a program of its own, with its own environment")]
fn every_page_prints_what_it_shows() {
    let mut pages = Page::all();
    let mut followed = follow_all(&pages);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        for (page, followed) in pages.iter().zip(followed) {
            page.rewrite(followed.differences.into_iter().map(|difference| {
                let Difference { line, shown, printed, .. } = difference;
                (line..line + shown, printed)
            }));
        }
        pages = Page::all();
        followed = follow_all(&pages);
    }
    let steps: usize = followed.iter().map(|page| page.steps).sum();
    let reports = followed.into_iter().flat_map(|page| {
        page.differences.into_iter().map(|difference| difference.report).chain(page.failures)
    });
    let reports: Vec<_> = reports.collect();
    assert!(steps > 100, "only {steps} steps were found");
    assert!(
        reports.is_empty(),
        "{} of {steps} steps differ; if it is meant: {UPDATE}\n\n{}",
        reports.len(),
        reports.join("\n")
    );
}

/// The Rust of the pages is part of the walk through the library, which runs as a documentation test.
#[test]
fn rust_in_the_pages_comes_from_the_documentation_test_of_the_library() {
    let library = in_repository("src/lib.rs");
    let mut found = 0;
    for page in Page::all() {
        for block in page.blocks().into_iter().filter(|block| block.language == "rust") {
            let mut walk = library.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim);
            for (index, line) in block.lines.iter().enumerate() {
                let number = block.line + index;
                assert!(
                    line.trim().is_empty() || walk.any(|other| other == line.trim()),
                    "{}:{number}: not in src/lib.rs, or not in this order: {line}",
                    page.path
                );
            }
            found += 1;
        }
    }
    assert!(found > 0, "no page shows the library");
}
