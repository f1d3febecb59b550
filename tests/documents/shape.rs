//! What readers rely on: README.md can be read in one sitting, and each page says first what it covers.

use crate::page::Page;

#[test]
fn the_readme_has_at_most_250_lines() {
    let lines = Page::read("README.md").text.lines().count();
    assert!(lines <= 250, "README.md has {lines} lines; details belong to docs/");
}

#[test]
fn every_page_begins_with_a_title_and_a_paragraph() {
    for page in Page::all().iter().filter(|page| !["CHANGELOG.md", "SECURITY.md"].contains(&&*page.path)) {
        let mut lines = page.text.lines();
        let title = lines.next().unwrap_or_default();
        assert!(title.starts_with("# "), "{} begins with: {title}", page.path);
        assert_eq!(lines.next(), Some(""), "{}", page.path);
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with(char::is_alphabetic) || first.starts_with('`'), "{}: {first}", page.path);
    }
}

/// Returns the rows of the tables in a section, without the last bar.
fn rows(page: &Page, heading: &str) -> Vec<String> {
    let prose = page.prose();
    let section = prose.iter().skip_while(|line| *line != heading).skip(1);
    section
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| ") && !line.starts_with("| what"))
        .map(|line| line.trim_end_matches(" |").to_owned())
        .collect()
}

#[test]
fn the_figures_in_the_readme_are_those_of_the_benchmarks_page() {
    let all = Page::read("docs/benchmarks.md").text;
    let shown = rows(&Page::read("README.md"), "## How fast");
    assert!(shown.len() > 3, "{shown:?}");
    for row in shown {
        assert!(all.lines().any(|line| line.starts_with(&row)), "docs/benchmarks.md has no row: {row}");
    }
}
