//! The documents of this repository: README.md, the other Markdown files beside it, and everything in `docs/`.
//!
//! Every command in a `console` block runs and must print what the block shows (`console`), every link must lead to a
//! file and a heading that exist (`links`), every source file that a page names must exist (`files`), and pages keep the
//! shape that readers rely on (`shape`).

#![expect(clippy::panic, clippy::unwrap_used, reason = "what a test needs and cannot get fails the test")]

mod compare;
mod console;
mod files;
#[path = "../gateways/installed.rs"]
mod installed;
mod links;
mod page;
mod ports;
#[path = "../gateways/process.rs"]
mod process;
#[path = "../gateways/programs.rs"]
mod programs;
mod shape;
mod shell;
