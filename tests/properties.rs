//! Rules that hold for every value, tried with many.

#![expect(clippy::unwrap_used, reason = "what a test needs and cannot get fails the test")]

use jiff::{SignedDuration, Timestamp};
use pdkeys::manage::Founding;
use pdkeys::model::{
    Access, CredentialKind, Disabled, GeneralKey, Head, Id, KeyState, Label, Name, Noun, Policy, RateLimit,
    Scope, ScopeSet, Secret, UserRef, escape, is_hazardous, is_invisible, parse_duration, parse_expiry,
    parse_past_time,
};
use pdkeys::ports::{Clock, SystemEntropy};
use pdkeys::store::{Chain, Place, Store as _, sqlite::SqliteStore};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use unicode_normalization::UnicodeNormalization as _;

const NOW: &str = "2026-03-01T12:00:00.125Z";

struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        NOW.parse().unwrap()
    }
}

/// Milliseconds from 1970 to 2200, which is what a clock may say.
fn any_moment() -> impl Strategy<Value = Timestamp> {
    (0..7_258_118_400_000_i64).prop_map(|milliseconds| Timestamp::from_millisecond(milliseconds).unwrap())
}

/// Text with more awkward characters than chance would bring.
fn awkward_text() -> impl Strategy<Value = String> {
    let awkward = prop::sample::select(vec![
        '\0', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{80}', '\u{85}', '\u{9f}', '\u{61c}', '\u{200e}',
        '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\\', ' ',
        '\u{a0}', 'é', '🔑',
    ]);
    prop::collection::vec(
        prop_oneof![2 => any::<char>(), 1 => awkward, 2 => prop::char::range('a', 'z')],
        0..40,
    )
    .prop_map(String::from_iter)
}

/// C0, DEL and C1, and what Unicode gives the property `Bidi_Control`.
fn control_or_bidirectional() -> impl Strategy<Value = char> {
    let bidirectional = ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter();
    let bidirectional = bidirectional.chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
    prop::sample::select(
        ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}').chain(bidirectional).collect::<Vec<_>>(),
    )
}

fn any_scope() -> impl Strategy<Value = Scope> {
    "[a-z][a-z0-9_-]{0,12}(:[a-z][a-z0-9_-]{0,8})?\\.(read|write)".prop_map(|text| text.parse().unwrap())
}

/// Sets of few scopes, so that one is often within another.
fn few_scopes() -> impl Strategy<Value = ScopeSet> {
    let scopes: Vec<Scope> =
        ["a.read", "a.write", "b.read"].into_iter().map(|scope| scope.parse().unwrap()).collect();
    prop::sample::subsequence(scopes, 0..=3).prop_map(ScopeSet::from_iter)
}

fn any_access() -> impl Strategy<Value = Access> {
    prop_oneof![
        Just(Access::Full),
        Just(Access::ReadOnly),
        few_scopes().prop_map(Access::Scopes),
        Just(Access::Role(None)),
        few_scopes().prop_map(|scopes| Access::Role(Some(scopes))),
    ]
}

fn any_key() -> impl Strategy<Value = GeneralKey> {
    (any_moment(), proptest::option::of(any_moment()), any::<bool>()).prop_map(
        |(created_at, expires_at, off)| {
            let sarah =
                UserRef { id: "U00000001".parse().unwrap(), name: Name::parse(Noun::User, "sarah").unwrap() };
            GeneralKey {
                id: "K00000001".parse().unwrap(),
                description: "nightly deploy".parse().unwrap(),
                hint: None,
                access: Access::Full,
                created_at,
                created_by: sarah.clone(),
                disabled: off.then_some(Disabled { at: created_at, by: Some(sarah), reason: None }),
                expires_at,
                rate_limit: None,
                overlap_ends_at: expires_at,
                last_used_at: None,
            }
        },
    )
}

proptest! {
    #[test]
    fn an_id_reads_back_as_it_was_printed_in_any_case(
        text in "[KTAUSOI][0-9ABCDEFGHJKMNPQRSTVWXYZ]{8}",
        upper in prop::collection::vec(any::<bool>(), 9),
    ) {
        let id: Id = text.parse().unwrap();
        prop_assert_eq!(id.to_string(), text.clone());
        let mixed: String = text
            .chars()
            .zip(upper)
            .map(|(c, upper)| if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect();
        prop_assert_eq!(mixed.parse::<Id>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<Id>(&json).unwrap(), id);
    }

    #[test]
    fn what_reads_as_an_id_prints_in_nine_characters_that_read_as_the_same(text in "[A-Za-z0-9é]{8,10}") {
        if let Ok(id) = text.parse::<Id>() {
            let printed = id.to_string();
            prop_assert_eq!(printed.len(), 9);
            prop_assert_eq!(printed.parse::<Id>().unwrap(), id);
        }
    }

    #[test]
    fn a_drawn_id_reads_back(number in 0_u64..) {
        struct Fixed([u8; 8]);
        impl pdkeys::ports::Entropy for Fixed {
            fn fill(&mut self, bytes: &mut [u8]) -> Result<(), pdkeys::ports::EntropyError> {
                bytes.copy_from_slice(&self.0[..bytes.len()]);
                Ok(())
            }
        }
        let id = Id::generate(Noun::Service, &mut Fixed(number.to_le_bytes())).unwrap();
        prop_assert_eq!(id.noun(), Noun::Service);
        prop_assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
    }

    #[test]
    fn escaping_leaves_nothing_hazardous_or_invisible_and_plain_text_as_it_is(text in awkward_text()) {
        let escaped = escape(&text);
        prop_assert!(!escaped.contains(|c| is_hazardous(c) || is_invisible(c)), "{escaped:?}");
        if !text.contains(|c| is_hazardous(c) || is_invisible(c)) {
            prop_assert_eq!(escaped.as_ref(), text.as_str());
        }
    }

    #[test]
    fn every_control_and_bidirectional_character_is_hazardous(character in control_or_bidirectional()) {
        prop_assert!(is_hazardous(character), "{character:?}");
        for text in [format!("a{character}b"), format!("a{character}"), format!("{character}b")] {
            prop_assert!(Label::parse("description", &text).is_err(), "{text:?}");
            prop_assert!(Name::parse(Noun::User, &text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_accepted_label_has_nothing_hazardous_and_no_blanks_around_it(text in awkward_text()) {
        let accepted = [
            Label::parse("description", &text).map(|label| label.as_str().to_owned()),
            Name::parse(Noun::User, &text).map(|name| name.as_str().to_owned()),
        ];
        for label in accepted.into_iter().flatten() {
            prop_assert!(!label.contains(is_hazardous), "{label:?}");
            prop_assert!(!label.is_empty() && label.trim() == label, "{label:?}");
            let again = Label::parse("description", &label).unwrap();
            prop_assert_eq!(again.as_str(), &label, "accepted again");
            prop_assert!(!text.contains(is_hazardous));
        }
    }

    #[test]
    fn an_accepted_name_is_seen_whole_and_is_one_name_in_every_form(text in awkward_text()) {
        if let Ok(name) = Name::parse(Noun::User, &text) {
            prop_assert!(!name.as_str().contains(is_invisible), "{name:?}");
            prop_assert_eq!(name.as_str().nfc().collect::<String>(), name.as_str());
            for form in [name.as_str().nfd().collect::<String>(), name.as_str().nfkc().collect()] {
                if let Ok(other) = Name::parse(Noun::User, &form) {
                    prop_assert!(name.is_like(&other), "{name:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn plain_text_makes_a_label(text in "[a-zA-Z0-9éü鍵🔑._/'\"-]([ a-zA-Z0-9éü鍵🔑._/'\"-]{0,250}[a-z])?") {
        let label = Label::parse("description", &text).unwrap();
        prop_assert_eq!(label.to_string(), text);
    }

    #[test]
    fn a_scope_reads_back_as_it_was_printed(scope in any_scope()) {
        prop_assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
    }

    #[test]
    fn text_that_is_no_scope_makes_none(text in "[a-zA-Z:. ]{0,12}") {
        if let Ok(scope) = text.parse::<Scope>() {
            prop_assert_eq!(scope.as_str(), &text);
            prop_assert!(matches!(text.rsplit_once('.'), Some((_, "read" | "write"))));
            prop_assert!(!text.contains(' '), "sets are printed with blanks between");
        }
    }

    #[test]
    fn a_set_of_scopes_reads_back_as_it_was_printed(scopes in prop::collection::vec(any_scope(), 0..6)) {
        let set: ScopeSet = scopes.iter().cloned().collect();
        prop_assert_eq!(&set.to_string().parse::<ScopeSet>().unwrap(), &set);
        let json = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(&serde_json::from_str::<ScopeSet>(&json).unwrap(), &set);
        prop_assert!(scopes.iter().all(|scope| set.contains(scope)));
        prop_assert_eq!(set.is_empty(), scopes.is_empty());
    }

    #[test]
    fn a_rate_limit_reads_back_as_it_was_printed(number in 1_u32..) {
        for limit in [RateLimit::PerMinute(number), RateLimit::Unlimited] {
            prop_assert_eq!(limit.to_string().parse::<RateLimit>().unwrap(), limit);
        }
    }

    #[test]
    fn a_head_reads_back_as_it_was_printed(number: u64, end: [u8; 32]) {
        let head = Head { number, end };
        prop_assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
    }

    #[test]
    fn a_head_is_digits_and_hex_digits_and_nothing_else(
        number in 0_u64..1000,
        end: [u8; 32],
        at in 0_usize..64,
        other in "[^0-9a-fA-F]",
    ) {
        let text = Head { number, end }.to_string();
        let start = text.len() - 64 + at;
        let mut spoilt = text.clone();
        spoilt.replace_range(start..=start, &other);
        for spoilt in [spoilt, format!("+{text}"), format!(" {text}"), format!("{text}0"), format!("{other}{text}")] {
            prop_assert!(spoilt.parse::<Head>().is_err(), "{spoilt:?}");
        }
    }

    #[test]
    fn an_end_that_is_accepted_is_not_past(
        now in any_moment(),
        text in prop_oneof![
            "-?[0-9]{1,6}(ms|s|m|h|d|w|mo|y)",
            "[0-9]{1,3}d [0-9]{1,3}h( ago)?",
            "P[0-9]{1,3}DT[0-9]{1,3}H",
            any_moment().prop_map(|moment| moment.to_string()),
            "[0-9]{1,4}(us|ns)",
            any_moment().prop_map(|moment| moment.strftime("%Y-%m-%d").to_string()),
            awkward_text(),
        ],
    ) {
        if let Ok(Some(end)) = parse_expiry("expiry", &text, now) {
            prop_assert!(end > now, "{text} from {now} is {end}");
            let stored = Timestamp::from_millisecond(end.as_millisecond()).unwrap();
            prop_assert_eq!(end, stored, "finer than what is stored: {}", text);
        }
        if let Ok(length) = parse_duration("overlap", &text, now) {
            prop_assert!(length >= SignedDuration::from_millis(1), "{text}");
        }
    }

    #[test]
    fn a_moment_reads_back_as_it_was_printed(now in any_moment(), moment in any_moment()) {
        prop_assert_eq!(parse_past_time("since", &moment.to_string(), now).unwrap(), moment);
        if moment > now {
            prop_assert_eq!(parse_expiry("expiry", &moment.to_string(), now).unwrap(), Some(moment));
        }
    }

    #[test]
    fn looking_back_and_ahead_by_the_same_hours_are_mirrored(now in any_moment(), hours in 1_i64..10_000) {
        let text = format!("{hours}h");
        let ahead = parse_expiry("expiry", &text, now).unwrap().unwrap();
        let back = parse_past_time("since", &text, now).unwrap();
        prop_assert_eq!(ahead.duration_since(now), now.duration_since(back));
        prop_assert_eq!(parse_duration("overlap", &text, now).unwrap(), SignedDuration::from_hours(hours));
    }

    #[test]
    fn every_access_can_stay_what_it_is(access in any_access()) {
        prop_assert!(access.can_become(&access));
    }

    #[test]
    fn narrowing_twice_is_narrowing(a in any_access(), b in any_access(), c in any_access()) {
        if a.can_become(&b) && b.can_become(&c) {
            prop_assert!(a.can_become(&c), "{a:?} to {b:?} to {c:?}");
        }
        if a.can_become(&b) && b.can_become(&a) {
            prop_assert_eq!(a, b, "there and back is no change");
        }
    }

    #[test]
    fn a_key_works_until_it_is_switched_off_or_its_end_comes(key in any_key(), now in any_moment()) {
        let ended = key.expires_at.is_some_and(|end| end <= now);
        let state = key.state(now);
        prop_assert_eq!(state == KeyState::Active, key.disabled.is_none() && !ended);
        prop_assert_eq!(state == KeyState::Disabled, key.disabled.is_some());
        prop_assert_eq!(key.overlap(now).is_some(), key.overlap_ends_at.is_some() && !ended);
        if let Some(end) = key.expires_at {
            prop_assert_ne!(key.state(end), KeyState::Active, "at its end it is over");
            let enabled = GeneralKey { disabled: None, ..key };
            prop_assert_eq!(enabled.state(end - SignedDuration::from_millis(1)), KeyState::Active);
        }
    }

    #[test]
    fn a_hint_is_four_characters_and_of_a_short_text_tells_none(text in awkward_text()) {
        let hint = Secret::presented(text.clone()).hint();
        prop_assert_eq!(hint.as_str().chars().count(), 4);
        if text.chars().count() < 16 {
            prop_assert_eq!(hint.as_str(), "****");
        } else {
            prop_assert!(text.ends_with(hint.as_str()));
        }
    }

    #[test]
    fn a_secret_has_the_shape_of_one_kind_whatever_is_around_it(text in "[A-Za-z0-9_-]{20}", around in "[ \t\r\n\"']") {
        prop_assert_eq!(CredentialKind::of_shape(text.as_bytes()), Some(CredentialKind::General));
        for spoilt in [format!("{around}{text}"), format!("{text}{around}")] {
            prop_assert_eq!(CredentialKind::of_shape(spoilt.as_bytes()), None, "{:?}", spoilt);
        }
    }
}

/// A store whose audit trail lies in a table without checks: somebody is at it who can write the file.
fn tampered_with() -> (TempDir, SqliteStore, Connection) {
    let directory = TempDir::new().unwrap();
    let place = Place::new(directory.path().join("pdkeys.db"));
    let founding = Founding {
        account: Name::parse(Noun::Account, "acmé").unwrap(),
        policy: Policy::PagerDuty,
        owner: Name::parse(Noun::User, "sarah").unwrap(),
        os_uid: 4711,
    };
    let store: SqliteStore = founding.make_store(&place, &Frozen, &mut SystemEntropy).unwrap();
    let connection = Connection::open(place.database()).unwrap();
    connection
        .execute_batch(
            "PRAGMA synchronous = OFF;
             CREATE TABLE bare (number INTEGER PRIMARY KEY, record TEXT, chain BLOB);
             INSERT INTO bare SELECT number, record, chain FROM audit;
             DROP TABLE audit;
             ALTER TABLE bare RENAME TO audit",
        )
        .unwrap();
    (directory, store, connection)
}

/// Not a sample: every byte of every record, and every byte of every link of the chain.
#[test]
fn any_changed_byte_of_a_record_or_of_the_chain_is_found_where_it_stands() {
    let (_directory, mut store, connection) = tampered_with();
    assert!(matches!(store.verify_audit(None).unwrap(), Chain::Intact(_)));
    let trail: Vec<(u64, Vec<u8>, Vec<u8>)> = connection
        .prepare("SELECT number, CAST(record AS BLOB), chain FROM audit ORDER BY number")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(trail.len(), 2);
    let mut write = connection
        .prepare("UPDATE audit SET record = CAST(?2 AS TEXT), chain = ?3 WHERE number = ?1")
        .unwrap();
    for (number, record, link) in &trail {
        for at in 0..record.len() {
            // One that leaves it text, one that may turn a letter's case, one that makes it no UTF-8.
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = record.clone();
                changed[at] ^= flip;
                write.execute(params![number, changed, link]).unwrap();
                let found = store.verify_audit(None).unwrap();
                assert_eq!(found, Chain::BrokenAt(*number), "byte {at} ^ {flip:#x}");
            }
        }
        for at in 0..link.len() {
            let mut changed = link.clone();
            changed[at] ^= 1;
            write.execute(params![number, record, changed]).unwrap();
            assert_eq!(store.verify_audit(None).unwrap(), Chain::BrokenAt(*number), "link {at}");
        }
        write.execute(params![number, record, link]).unwrap();
    }
    assert!(matches!(store.verify_audit(None).unwrap(), Chain::Intact(_)), "put back as it was");
}

#[test]
fn renumbered_and_exchanged_records_break_the_chain() {
    for (forgery, broken_at) in [
        ("UPDATE audit SET number = 3 WHERE number = 2", 2),
        ("UPDATE audit SET number = -1 WHERE number = 1", 1),
        ("UPDATE audit SET number = number + 1000 ; ", 1),
        ("INSERT INTO audit (number, record, chain) SELECT 3, record, chain FROM audit WHERE number = 2", 3),
        (
            "UPDATE audit SET record = (SELECT record FROM audit other WHERE other.number = 3 - audit.number)",
            1,
        ),
    ] {
        let (_directory, mut store, connection) = tampered_with();
        connection.execute_batch(forgery).unwrap();
        assert_eq!(store.verify_audit(None).unwrap(), Chain::BrokenAt(broken_at), "{forgery}");
    }
}
