//! Stories of queries: what they select, in which order, and page by page.

use std::ops::ControlFlow;

use jiff::Timestamp;
use pdkeys::authz::Action;
use pdkeys::model::{
    Access, AccessKind, Change, Disabled, GeneralKey, Id, KeyFilter, KeyOrder, KeyState, Noun, SecretChange,
};
use pdkeys::store::{
    AppQuery, AuditQuery, DestinationQuery, IntegrationQuery, KeyQuery, Page, ReadTx, Store as _, TokenQuery,
    UsageCount, UserQuery,
};

use crate::others::{
    add_app, add_destination, add_integration, add_token, new_app, new_integration, new_token,
};
use crate::site::{Engine, Site, in_order, moment};

const EVERY_ORDER: [KeyOrder; 4] =
    [KeyOrder::Created, KeyOrder::Description, KeyOrder::LastUsed, KeyOrder::Expires];

/// Adds keys that differ in all that a filter asks, and counts the use of some.
fn add_keys<E: Engine>(site: &mut Site<E>) -> Vec<GeneralKey> {
    let ben = site.new_user("U00000001", "ben");
    site.add_user(&ben);
    let bens = pdkeys::model::UserRef { id: ben.id, name: ben.name.clone() };
    let off = Some(Disabled { at: site.now(), by: Some(site.owner_ref()), reason: None });
    let ends = |text: &str| Some(moment(text));
    let keys = [
        site.new_key("K00000001", "Nightly deploy"),
        GeneralKey { access: Access::ReadOnly, ..site.new_key("K00000002", "nightly report 100%") },
        GeneralKey { disabled: off.clone(), ..site.new_key("K00000003", "under_score") },
        GeneralKey { expires_at: ends("2026-03-01T11:00:00Z"), ..site.new_key("K00000004", "ÄRGER") },
        GeneralKey { expires_at: ends("2026-03-01T12:00:00.125Z"), ..site.new_key("K00000005", "now") },
        GeneralKey { expires_at: ends("2026-03-02T12:00:00Z"), ..site.new_key("K00000006", "ärger") },
        GeneralKey { expires_at: ends("2026-04-02T12:00:00Z"), ..site.new_key("K00000007", "nightly") },
        GeneralKey {
            expires_at: ends("2026-03-02T12:00:00Z"),
            disabled: off,
            created_by: bens.clone(),
            ..site.new_key("K00000008", "nightly")
        },
        GeneralKey {
            access: Access::Scopes("incidents.read".parse().unwrap()),
            created_by: bens,
            ..site.new_key("K00000009", "a\\b")
        },
    ];
    for key in &keys {
        site.add_key(key, &key.id.to_string());
    }
    let used =
        |number: usize, at: &str| UsageCount { id: keys[number].id, at: moment(at), allowed: 1, denied: 0 };
    let counts = [
        used(1, "2026-02-01T00:00:00Z"),
        used(3, "2026-02-20T00:00:00Z"),
        used(6, "2026-02-20T00:00:00Z"),
        used(8, "2026-03-01T12:30:00Z"),
    ];
    site.writer().add_usage(&counts).unwrap();
    keys.to_vec()
}

/// The keys that a query selects, in one page or in pages of a length.
fn select<E: Engine>(site: &mut Site<E>, query: &KeyQuery) -> Vec<GeneralKey> {
    let mut keys = Vec::new();
    let mut tx = site.reader().read().unwrap();
    tx.general_keys(query, &mut |key| {
        keys.push(key);
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    keys
}

fn ids(keys: &[GeneralKey]) -> Vec<Id> {
    keys.iter().map(|key| key.id).collect()
}

pub(crate) fn a_query_selects_the_keys_that_its_filter_matches_and_no_others<E: Engine>(site: &mut Site<E>) {
    add_keys(site);
    let all = KeyFilter::default;
    let text = |part: &str| KeyFilter { text: Some(part.to_owned()), ..all() };
    let mut filters = vec![
        all(),
        text("NIGHT"),
        text("ärg"),
        text("100%"),
        text("%"),
        text("_"),
        text("a\\b"),
        text("'; DROP TABLE general_key"),
        text(""),
        KeyFilter { created_by: Some("U00000001".parse().unwrap()), ..all() },
        KeyFilter { created_by: Some("U00000002".parse().unwrap()), ..all() },
        KeyFilter { ends_by: Some(moment("2026-03-02T12:00:00Z")), ..all() },
        KeyFilter { ends_by: Some(moment("2026-03-02T11:59:59.999Z")), ..all() },
        KeyFilter { unused_since: Some(moment("2026-02-20T00:00:00Z")), ..all() },
        KeyFilter { unused_since: Some(moment("2026-02-20T00:00:00.001Z")), ..all() },
        KeyFilter {
            unused_since: Some(moment("2026-03-01T12:10:00Z")),
            state: Some(KeyState::Active),
            ..all()
        },
    ];
    for state in [KeyState::Active, KeyState::Disabled, KeyState::Expired] {
        filters.push(KeyFilter { state: Some(state), ..all() });
        filters.push(KeyFilter { state: Some(state), ..text("nightly") });
    }
    for access in [AccessKind::Full, AccessKind::ReadOnly, AccessKind::Scopes] {
        filters.push(KeyFilter { access: Some(access), ..all() });
    }
    let at = site.now();
    for filter in filters {
        for (order, reverse) in EVERY_ORDER.into_iter().flat_map(|order| [(order, false), (order, true)]) {
            let whole = select(site, &KeyQuery { at, ..in_order(order, reverse) });
            let expected: Vec<_> = whole.iter().filter(|key| filter.matches(key, at)).cloned().collect();
            let query = KeyQuery { filter: filter.clone(), at, ..in_order(order, reverse) };
            assert_eq!(select(site, &query), expected, "{filter:?} {order:?} reverse: {reverse}");
            for limit in [0, 1, 2, 100] {
                let page = Page { limit: Some(limit), after: None };
                let first = usize::try_from(limit).unwrap().min(expected.len());
                let found = select(site, &KeyQuery { page, ..query.clone() });
                assert_eq!(ids(&found), ids(&expected[..first]), "{filter:?} {order:?} {reverse} {limit}");
            }
        }
    }
}

pub(crate) fn pages_of_keys_follow_one_another_in_every_order<E: Engine>(site: &mut Site<E>) {
    add_keys(site);
    let at = site.now();
    let active = KeyFilter { state: Some(KeyState::Active), ..KeyFilter::default() };
    for filter in [KeyFilter::default(), active] {
        for (order, reverse) in EVERY_ORDER.into_iter().flat_map(|order| [(order, false), (order, true)]) {
            let query = KeyQuery { filter: filter.clone(), at, ..in_order(order, reverse) };
            let expected = ids(&select(site, &query));
            for length in 1..=4 {
                let mut page = Page { limit: Some(length), after: None };
                let mut found = Vec::new();
                loop {
                    let keys = ids(&select(site, &KeyQuery { page, ..query.clone() }));
                    let Some(last) = keys.last() else { break };
                    page.after = Some(*last);
                    found.extend(keys);
                }
                assert_eq!(found, expected, "{order:?} reverse: {reverse}, pages of {length}");
            }
        }
    }
}

pub(crate) fn a_page_after_a_key_that_is_gone_is_empty<E: Engine>(site: &mut Site<E>) {
    let keys = add_keys(site);
    site.remove_key(&keys[4]);
    for (order, reverse) in EVERY_ORDER.into_iter().flat_map(|order| [(order, false), (order, true)]) {
        let page = Page { limit: None, after: Some(keys[4].id) };
        assert_eq!(select(site, &KeyQuery { page, ..in_order(order, reverse) }), [], "{order:?} {reverse}");
    }
}

/// Reads ids page by page, and then all at once.
fn paged<E: Engine>(
    site: &mut Site<E>,
    read: impl Fn(&mut <E::Store as pdkeys::store::Store>::Snapshot<'_>, Page, &mut Vec<Id>),
) -> (Vec<Id>, Vec<Id>) {
    let (mut pages, mut whole) = (Vec::new(), Vec::new());
    let mut page = Page { limit: Some(2), after: None };
    loop {
        let mut ids = Vec::new();
        read(&mut site.reader().read().unwrap(), page, &mut ids);
        let Some(last) = ids.last() else { break };
        assert!(ids.len() <= 2);
        page.after = Some(*last);
        pages.extend(ids);
    }
    read(&mut site.reader().read().unwrap(), Page::default(), &mut whole);
    (pages, whole)
}

macro_rules! collect {
    ($tx:ident.$read:ident($query:expr), $ids:ident) => {
        $tx.$read($query, &mut |row| {
            $ids.push(row.id);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap()
    };
}

pub(crate) fn pages_of_every_other_noun_follow_one_another<E: Engine>(site: &mut Site<E>) {
    let jim = site.new_user("U00000001", "jim");
    site.add_user(&jim);
    let left = pdkeys::model::User { left_at: Some(site.now()), ..jim.clone() };
    site.change_user(Action::RemoveUser, &Change::Update { before: jim, after: left }).unwrap();
    for (number, name) in ["c", "a", "b"].into_iter().enumerate() {
        let user = site.new_user(&format!("U0000000{}", number + 2), name);
        site.add_user(&user);
        let token = new_token(site, &format!("T0000000{number}"), &user);
        add_token(site, &token, &format!("token {number}"));
        let service = add_destination(site, &format!("S0000000{number}"), name);
        add_destination(site, &format!("O0000000{number}"), name);
        let integration = new_integration(site, &format!("I0000000{number}"), &service);
        add_integration(site, &integration, &format!("integration {number}"));
        let app = new_app(site, &format!("A0000000{number}"), name);
        add_app(site, &app, &format!("app {number}"));
    }
    for (present, count) in [(false, 5), (true, 4)] {
        let (pages, whole) =
            paged(site, |tx, page, ids| collect!(tx.users(&UserQuery { present, page }), ids));
        assert_eq!((pages.len(), &pages), (count, &whole));
    }
    let (pages, whole) =
        paged(site, |tx, page, ids| collect!(tx.user_tokens(&TokenQuery { user: None, page }), ids));
    assert_eq!((pages.len(), &pages), (3, &whole));
    for noun in [Noun::Service, Noun::Orchestration] {
        let (pages, whole) =
            paged(site, |tx, page, ids| collect!(tx.destinations(&DestinationQuery { noun, page }), ids));
        assert_eq!((pages.len(), &pages), (3, &whole));
        assert!(pages.iter().all(|id| id.noun() == noun));
    }
    let (pages, whole) = paged(site, |tx, page, ids| {
        collect!(tx.integrations(&IntegrationQuery { destination: None, page }), ids);
    });
    assert_eq!((pages.len(), &pages), (3, &whole));
    let (pages, whole) = paged(site, |tx, page, ids| collect!(tx.apps(&AppQuery { page }), ids));
    assert_eq!((pages.len(), &pages), (3, &whole));
}

pub(crate) fn pages_of_audit_records_follow_one_another<E: Engine>(site: &mut Site<E>) {
    for number in 0..5 {
        let key = site.new_key(&format!("K0000000{number}"), "key");
        let create = Change::Create(key);
        site.change_key(Action::CreateGeneralKey, &create, SecretChange::Keep).unwrap();
    }
    let whole: Vec<_> = site.records(&AuditQuery::default()).iter().map(|record| record.id).collect();
    assert!(whole.len() > 5 && whole.is_sorted_by(|a, b| a > b), "{whole:?}");
    let mut found: Vec<u64> = Vec::new();
    loop {
        let query = AuditQuery { limit: Some(2), before: found.last().copied(), ..AuditQuery::default() };
        let page: Vec<_> = site.records(&query).iter().map(|record| record.id).collect();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, whole);
    let since = Timestamp::MAX;
    assert!(site.records(&AuditQuery { since: Some(since), ..AuditQuery::default() }).is_empty());
}
