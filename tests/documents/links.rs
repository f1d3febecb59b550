//! Links between pages, and from pages to other files of the repository.

use std::path::{Component, Path, PathBuf};

use regex::Regex;

use crate::page::Page;

/// Returns the anchor of each heading, as GitHub makes it.
fn anchors(page: &Page) -> Vec<String> {
    page.prose()
        .iter()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')))
        .map(|heading| {
            let kept = heading.to_lowercase();
            kept.chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// Resolves a relative link of a page to a path in the repository, or to nothing if it leads out of it.
fn resolve(page: &str, link: &str) -> Option<PathBuf> {
    let mut path = Path::new(page).parent().unwrap().to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir if !path.pop() => return None,
            Component::Normal(name) => path.push(name),
            Component::ParentDir | Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

/// Says what is wrong with a link of a page, if anything is.
fn fault(page: &Page, target: &str) -> Option<String> {
    let (link, anchor) = target.split_once('#').unwrap_or((target, ""));
    let linked = if link.is_empty() { Some(PathBuf::from(&page.path)) } else { resolve(&page.path, link) };
    let Some(linked) = linked.filter(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()) else {
        return Some("no such file".to_owned());
    };
    if anchor.is_empty() {
        return None;
    }
    let same = anchors(&Page::read(linked.to_str().unwrap())).iter().filter(|known| *known == anchor).count();
    (same != 1).then(|| format!("{same} headings have this anchor"))
}

/// Returns the targets of the links in the prose of a page, but for those to other sites.
fn targets(page: &Page) -> Vec<String> {
    let link = Regex::new(r"(?m)\]\(([^)\s]+)\)|^\[[^\]]+\]:\s+(\S+)").unwrap();
    let prose = page.prose().join("\n");
    link.captures_iter(&prose)
        .map(|found| found.get(1).or(found.get(2)).unwrap().as_str().to_owned())
        .filter(|target| !target.contains("://"))
        .collect()
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let (mut followed, mut faults) = (0, Vec::new());
    for page in Page::all() {
        for target in targets(&page) {
            faults.extend(fault(&page, &target).map(|fault| format!("{}: {target}: {fault}", page.path)));
            followed += 1;
        }
    }
    assert!(followed > 60, "only {followed} links were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page =
        Page { path: "docs/made-up.md".to_owned(), text: "# Here\n\n## Twice\n\n## Twice\n".to_owned() };
    for (target, wrong) in [
        ("../README.md", false),
        ("README.md#documentation", false),
        ("../docs/guide.md", false),
        ("../README.md#no-such-heading", true),
        ("missing.md", true),
        ("../../elsewhere.md", true),
        ("/README.md", true),
    ] {
        assert_eq!(fault(&page, target).is_some(), wrong, "{target}");
    }
}

#[test]
fn every_page_in_docs_is_found_from_the_index() {
    let index = Page::read("docs/README.md");
    let listed: Vec<_> = targets(&index).iter().filter_map(|target| resolve(&index.path, target)).collect();
    for page in Page::all() {
        let is_listed = page.path == index.path || listed.iter().any(|path| path == Path::new(&page.path));
        assert!(is_listed, "docs/README.md does not link to {}", page.path);
    }
    let readme = Page::read("README.md");
    assert!(
        targets(&readme).iter().any(|target| target == "docs/README.md"),
        "README.md has no link to the index"
    );
}
