//! Markdown pages, taken apart into prose, fenced blocks and the steps of a `console` block.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// Returns the text of a file of this repository.
pub(crate) fn in_repository(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A Markdown file: its path in the repository, and its text.
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced block, the second-level section that it stands in, and the number of its first line inside the fence.
pub(crate) struct Block {
    pub(crate) section: String,
    pub(crate) language: String,
    pub(crate) line: usize,
    pub(crate) lines: Vec<String>,
}

/// A command of a `console` block, and the lines that it must print.
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) printed: Vec<String>,
}

impl Page {
    pub(crate) fn read(path: &str) -> Self {
        Self { path: path.to_owned(), text: in_repository(path) }
    }

    /// Reads the Markdown files at the top of the repository and in `docs/`.
    pub(crate) fn all() -> Vec<Self> {
        let mut paths = Vec::new();
        for directory in ["", "docs/"] {
            for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                    paths.push(format!("{directory}{name}"));
                }
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Calls `visit` with the number of each line, the line, and whether it is inside a fenced block.
    fn visit(&self, mut visit: impl FnMut(usize, &str, Place)) {
        let mut inside = false;
        for (index, line) in self.text.lines().enumerate() {
            let place = match (line.strip_prefix("```"), inside) {
                (Some(_), false) => Place::Opens,
                (Some(_), true) => Place::Closes,
                (None, true) => Place::Inside,
                (None, false) => Place::Outside,
            };
            inside = matches!(place, Place::Opens | Place::Inside);
            visit(index + 1, line, place);
        }
        assert!(!inside, "the last block of {} does not end", self.path);
    }

    /// Returns the lines outside fenced blocks.
    pub(crate) fn prose(&self) -> Vec<String> {
        let mut prose = Vec::new();
        self.visit(|_, line, place| {
            if place == Place::Outside {
                prose.push(line.to_owned());
            }
        });
        prose
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut section): (Vec<Block>, _) = (Vec::new(), String::new());
        self.visit(|number, line, place| match place {
            Place::Outside => {
                if let Some(title) = line.strip_prefix("## ") {
                    title.clone_into(&mut section);
                }
            }
            Place::Opens => blocks.push(Block {
                section: section.clone(),
                language: line.trim_start_matches('`').to_owned(),
                line: number + 1,
                lines: Vec::new(),
            }),
            Place::Inside => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            Place::Closes => {}
        });
        blocks
    }

    /// Writes the page to its file, with the lines in each range replaced. Ranges are in order and do not overlap.
    pub(crate) fn rewrite(&self, replaced: impl DoubleEndedIterator<Item = (Range<usize>, Vec<String>)>) {
        let mut lines: Vec<_> = self.text.lines().map(str::to_owned).collect();
        for (range, with) in replaced.rev() {
            lines.splice(range, with);
        }
        lines.push(String::new());
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(&self.path), lines.join("\n")).unwrap();
    }

    /// Splits a `console` block at its prompts.
    pub(crate) fn steps(&self, block: &Block) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, line) in block.lines.iter().enumerate() {
            let at = block.line + index;
            match line.strip_prefix("$ ") {
                Some(command) => {
                    steps.push(Step { line: at, command: command.to_owned(), printed: Vec::new() });
                }
                None => match steps.last_mut() {
                    Some(step) => step.printed.push(line.clone()),
                    None => panic!("{}:{at}: output without a command before it", self.path),
                },
            }
        }
        steps
    }
}

/// Where a line stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Opens,
    Inside,
    Closes,
}
