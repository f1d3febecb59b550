//! The table of REST operations, and the matcher built from it.
//!
//! A path is matched segment by segment. `{x}` matches any one segment, and if several templates match, the one with the
//! leftmost literal wins. The method is then looked up in that template only: `DELETE /users/me` has no operation, even
//! though `DELETE /users/{id}` would match.

use std::sync::LazyLock;

use crate::model::Scope;
use crate::verify::Path;

const TABLE: &str = include_str!("operations.tsv");

/// The segments that `{entity_type}` matches.
const ENTITY_TYPES: [&str; 3] = ["users", "teams", "escalation_policies"];

/// One operation of the REST API.
#[derive(Debug)]
pub struct Operation {
    /// The name of the operation.
    pub id: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path template.
    pub template: &'static str,
    /// The scopes that are needed. A credential must have all of them.
    pub needed: Vec<Scope>,
}

struct Matcher {
    operations: Vec<Operation>,
    root: Node,
}

/// A node in the tree of all templates. Each edge is a segment.
#[derive(Default)]
struct Node {
    /// The literals that can come next, in alphabetical order.
    literals: Vec<(&'static str, Node)>,
    /// The parameter that can come next, with its name.
    parameter: Option<(&'static str, Box<Node>)>,
    /// The indices of the operations whose template ends at this node.
    operations: Vec<usize>,
}

static MATCHER: LazyLock<Matcher> = LazyLock::new(Matcher::new);

/// Returns every operation in the table.
#[must_use]
pub fn operations() -> &'static [Operation] {
    &MATCHER.operations
}

/// Checks that an operation in the table needs a scope.
///
/// # Errors
/// If none does; with the most similar scope of the table, if one is similar enough to have been meant.
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

/// Finds the operation for a method and a path. HEAD is looked up as GET.
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

    /// Returns the node that the segments lead to, preferring literals to parameters.
    fn follow<'s>(&self, mut segments: impl Iterator<Item = &'s str> + Clone) -> Option<&Self> {
        let Some(segment) = segments.next() else { return (!self.operations.is_empty()).then_some(self) };
        if let Ok(at) = self.literals.binary_search_by_key(&segment, |(literal, _)| literal) {
            if let Some(found) = self.literals[at].1.follow(segments.clone()) {
                return Some(found);
            }
        } else if self.literals.iter().any(|(literal, _)| may_be_routed_as(segment, literal)) {
            return None;
        }
        let (name, node) = self.parameter.as_ref()?;
        if *name == "{entity_type}" && !ENTITY_TYPES.contains(&segment) {
            return None;
        }
        node.follow(segments)
    }
}

/// Returns whether a router may take a segment for a literal that it is not: Express ignores case, Rails and others take
/// `.json` for the format of the answer. To such a router `/incidents/Types` is no incident.
fn may_be_routed_as(segment: &str, literal: &str) -> bool {
    let name = segment.split('.').next().unwrap_or(segment);
    [segment, name].iter().any(|segment| segment.eq_ignore_ascii_case(literal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(method: &str, path: &str) -> Option<&'static str> {
        find(method, &Path::parse(path.as_bytes()).unwrap()).map(|operation| operation.id)
    }

    #[test]
    fn the_table_has_every_operation_and_scope() {
        assert_eq!(operations().len(), 465);
        assert!(operations().iter().all(|operation| operation.needed.len() == 1));
        let mut scopes: Vec<_> = operations().iter().flat_map(|operation| &operation.needed).collect();
        scopes.sort_unstable();
        scopes.dedup();
        assert_eq!(scopes.len(), 75);
    }

    #[test]
    fn an_unknown_scope_is_refused_with_the_most_similar_one() {
        let checked =
            |scope: &str| known_scope(&scope.parse().unwrap()).map_err(|near| near.map(Scope::as_str));
        assert_eq!(checked("incidents.read"), Ok(()));
        assert_eq!(checked("incidnets.read"), Err(Some("incidents.read")));
        assert_eq!(checked("elephants.read"), Err(None));
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

    #[test]
    fn no_parameter_is_what_a_router_may_take_for_a_literal() {
        assert_eq!(id("GET", "/incidents/types"), Some("listIncidentTypes"));
        assert_eq!(id("GET", "/incidents/PTYPES"), Some("getIncident"));
        assert_eq!(id("GET", "/incidents/P1.json"), Some("getIncident"));
        for path in [
            "/incidents/Types",
            "/incidents/types.json",
            "/incidents/TYPES.xml.gz",
            "/incidents/custom_fieldS",
            "/incidents/custom_fieldS/alerts",
            "/services/Custom_Fields",
            "/workflows/integrations/connections.json",
            "/users/ME",
        ] {
            assert_eq!(id("GET", path), None, "{path}");
        }
        for operation in operations() {
            let segments: Vec<_> = operation.template.split('/').collect();
            for at in (1..segments.len()).filter(|at| !segments[*at].starts_with('{')) {
                let mut segments = segments.clone();
                let spelt = segments[at].to_ascii_uppercase();
                segments[at] = &spelt;
                let path = segments.join("/").replace("{entity_type}", "teams").replace(['{', '}'], "x");
                assert_eq!(id(operation.method, &path), None, "{path}");
            }
        }
    }
}
