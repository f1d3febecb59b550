//! The table of REST operations, and the matcher built from it.
//!
//! A path is matched segment by segment: `{x}` matches one segment, and of several templates that match, the one
//! with literals further left wins. Then the method is looked up in that template, and nowhere else: `DELETE
//! /users/me` is not the deletion of the user who is called "me".

use std::sync::LazyLock;

use crate::model::Scope;
use crate::verify::Path;

const TABLE: &str = include_str!("operations.tsv");

/// What `{entity_type}` can be.
const ENTITY_TYPES: [&str; 3] = ["users", "teams", "escalation_policies"];

/// One operation of the REST API.
#[derive(Debug)]
pub struct Operation {
    /// Its name.
    pub id: &'static str,
    /// The method.
    pub method: &'static str,
    /// The template of the path.
    pub template: &'static str,
    /// The scopes that it needs, all of them.
    pub needed: Vec<Scope>,
}

struct Matcher {
    operations: Vec<Operation>,
    root: Node,
}

/// A segment in the tree of all templates.
#[derive(Default)]
struct Node {
    /// The literals that can follow, in alphabetical order.
    literals: Vec<(&'static str, Node)>,
    /// The parameter that can follow, with its name.
    parameter: Option<(&'static str, Box<Node>)>,
    /// The operations of the template that ends here.
    operations: Vec<usize>,
}

static MATCHER: LazyLock<Matcher> = LazyLock::new(Matcher::new);

/// Every operation of the table.
#[must_use]
pub fn operations() -> &'static [Operation] {
    &MATCHER.operations
}

/// Whether any operation of the table needs a scope; if none does, the scope that is most like it.
///
/// # Errors
/// The scope that may have been meant, if one comes near.
pub fn known_scope(scope: &Scope) -> Result<(), Option<&'static Scope>> {
    const LIKENESS: f64 = 0.7;
    let scopes = || operations().iter().flat_map(|operation| &operation.needed);
    if scopes().any(|known| known == scope) {
        return Ok(());
    }
    let likeness = |known: &Scope| strsim::normalized_damerau_levenshtein(scope.as_str(), known.as_str());
    let nearest = scopes().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Err(nearest.filter(|known| likeness(known) >= LIKENESS))
}

/// The operation of a method and a path; HEAD is looked up as GET.
pub(super) fn find(method: &str, path: &Path<'_>) -> Option<&'static Operation> {
    let method = if method == "HEAD" { "GET" } else { method };
    let node = MATCHER.root.follow(path.segments())?;
    node.operations
        .iter()
        .map(|index| &MATCHER.operations[*index])
        .find(|operation| operation.method == method)
}

impl Matcher {
    fn new() -> Self {
        let mut operations = Vec::with_capacity(512);
        let mut root = Node::default();
        for line in TABLE.lines().skip(1) {
            let mut cells = line.split('\t');
            let (Some(method), Some(template), Some(scopes), Some(_), Some(id)) =
                (cells.next(), cells.next(), cells.next(), cells.next(), cells.next())
            else {
                continue;
            };
            let needed = scopes.split(' ').filter_map(|scope| scope.parse().ok()).collect();
            root.insert(template, operations.len());
            operations.push(Operation { id, method, template, needed });
        }
        root.sort();
        Self { operations, root }
    }
}

impl Node {
    fn insert(&mut self, template: &'static str, operation: usize) {
        let mut node = self;
        for segment in template.split('/').skip(1) {
            if segment.starts_with('{') {
                node = &mut *node.parameter.get_or_insert_with(|| (segment, Box::default())).1;
            } else {
                let known = node.literals.iter().position(|(literal, _)| *literal == segment);
                let at = known.unwrap_or_else(|| {
                    node.literals.push((segment, Self::default()));
                    node.literals.len() - 1
                });
                node = &mut node.literals[at].1;
            }
        }
        node.operations.push(operation);
    }

    fn sort(&mut self) {
        self.literals.sort_unstable_by_key(|(literal, _)| *literal);
        for (_, node) in &mut self.literals {
            node.sort();
        }
        if let Some((_, node)) = &mut self.parameter {
            node.sort();
        }
    }

    /// The template that the segments lead to, literals first.
    fn follow<'s>(&self, mut segments: impl Iterator<Item = &'s str> + Clone) -> Option<&Self> {
        let Some(segment) = segments.next() else { return (!self.operations.is_empty()).then_some(self) };
        let literal = self.literals.binary_search_by_key(&segment, |(literal, _)| literal).ok();
        if let Some(found) = literal.and_then(|at| self.literals[at].1.follow(segments.clone())) {
            return Some(found);
        }
        let (name, node) = self.parameter.as_ref()?;
        if *name == "{entity_type}" && !ENTITY_TYPES.contains(&segment) {
            return None;
        }
        node.follow(segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(method: &str, path: &str) -> Option<&'static str> {
        find(method, &Path::parse(path.as_bytes()).unwrap()).map(|operation| operation.id)
    }

    #[test]
    fn the_table_is_whole() {
        assert_eq!(operations().len(), 465);
        assert!(operations().iter().all(|operation| operation.needed.len() == 1));
        let mut scopes: Vec<_> = operations().iter().flat_map(|operation| &operation.needed).collect();
        scopes.sort_unstable();
        scopes.dedup();
        assert_eq!(scopes.len(), 75);
    }

    #[test]
    fn a_scope_that_no_operation_needs_is_told_with_the_one_that_is_like_it() {
        let told = |scope: &str| known_scope(&scope.parse().unwrap()).map_err(|near| near.map(Scope::as_str));
        assert_eq!(told("incidents.read"), Ok(()));
        assert_eq!(told("incidnets.read"), Err(Some("incidents.read")));
        assert_eq!(told("elephants.read"), Err(None));
    }

    #[test]
    fn every_template_maps_back_to_itself() {
        for operation in operations() {
            let path = operation.template.replace("{entity_type}", "teams").replace(['{', '}'], "x");
            assert_eq!(id(operation.method, &path), Some(operation.id), "{} {path}", operation.method);
        }
    }

    #[test]
    fn literals_further_left_win_and_a_missing_method_is_not_found_elsewhere() {
        assert_eq!(id("GET", "/users/me"), Some("getCurrentUser"));
        assert_eq!(id("DELETE", "/users/me"), None);
        assert_eq!(id("DELETE", "/users/PABC"), Some("deleteUser"));
        assert_eq!(id("HEAD", "/users/PABC"), id("GET", "/users/PABC"));
        assert_eq!(id("GET", "/users/PABC/nothing"), None);
        assert!(id("GET", "/teams/P1/tags").is_some());
        assert_eq!(id("GET", "/services/P1/tags"), None, "no such entity type");
    }
}
