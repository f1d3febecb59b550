//! Rules that hold for every path, every input and every history.

use std::sync::LazyLock;

use jiff::SignedDuration;
use pdkeys::manage::DestinationKind;
use pdkeys::model::{Access, AccountEdit, AppEdit, KeyEdit, Policy, RateLimit, Role, Scope, UserEdit};
use pdkeys::verify::{
    Api, Operation, Path, Presented, Reason, Request, UsageRecording, Verdict, judge, operations,
};
use percent_encoding::percent_encode_byte;
use proptest::prelude::*;
use regex::Regex;
use unicode_normalization::UnicodeNormalization as _;

use crate::world::{Made, World, every_scope, hand_to, only, rest, scopes};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get"];

/// What the most liberal program behind would take a target for: decoded until nothing is left to decode, what Unicode
/// maps to ASCII mapped and what it ignores left out, divided at either slash, blanks around segments cut off, empty
/// and dotted segments resolved, parameters cut off.
fn liberally(target: &str) -> Vec<String> {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    let mut bytes = target.as_bytes().to_vec();
    loop {
        let decoded = decode_once(&bytes);
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    let text = fold(&String::from_utf8_lossy(&bytes));
    let mut segments = Vec::new();
    for segment in text.split(['/', '\\']) {
        match segment.split([';', '\0']).next().unwrap_or_default().trim() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            plain => segments.push(plain.to_owned()),
        }
    }
    segments
}

/// Maps what has an ASCII character in its compatibility form, in either case, to that form, and leaves out what Unicode
/// has ignored by default.
fn fold(text: &str) -> String {
    static IGNORED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\p{Default_Ignorable_Code_Point}").unwrap());
    let form = |character: char| {
        let plain = character.to_string();
        let forms = [plain.clone(), plain.to_lowercase(), plain.to_uppercase().to_lowercase()];
        let mut forms = forms.iter().map(|text| text.nfkc().collect::<String>());
        let is_ascii = |text: &String| text.contains(|character: char| character.is_ascii());
        if character.is_ascii() { plain } else { forms.find(is_ascii).unwrap_or(plain) }
    };
    IGNORED.replace_all(text, "").chars().map(form).collect()
}

fn decode_once(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap());
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// The operation that segments lead to, by trying every one: of those that match, the one whose literals stand
/// further left; then the method, there and nowhere else.
fn operation_of(method: &str, segments: &[String]) -> Option<&'static Operation> {
    let method = if method == "HEAD" { "GET" } else { method };
    let matches = |operation: &&Operation| {
        let template: Vec<_> = operation.template.split('/').skip(1).collect();
        template.len() == segments.len()
            && template.iter().zip(segments).all(|(expected, segment)| match *expected {
                "{entity_type}" => ["users", "teams", "escalation_policies"].contains(&segment.as_str()),
                expected => expected.starts_with('{') || expected == segment,
            })
    };
    // Literals before parameters, at the first place where they differ.
    let shape = |operation: &Operation| -> Vec<bool> {
        operation.template.split('/').map(|segment| segment.starts_with('{')).collect()
    };
    let best = operations().iter().filter(matches).map(shape).min()?;
    operations()
        .iter()
        .filter(matches)
        .find(|operation| shape(operation) == best && operation.method == method)
}

/// A path of an operation, with awkward things where its parameters are.
fn filled_path() -> impl Strategy<Value = (usize, String)> {
    let value = prop_oneof![
        4 => Just("PABC12".to_owned()),
        1 => prop::sample::select(vec![
            "me", "..", ".", "%2e%2e", "a%2fb", "a%5cb", "overrides", "users", "incidents", "%6de", "P%C3%A9", "P\u{e9}",
            "..;", "a;b", "%252e%252e", "\u{ff0e}\u{ff0e}", "%EF%B8%B0", "m%C2%ADe", "%E2%93%9Ce", "me%C2%A0", "*", "a@b:c", "%", "~", "-", "%2E", "null",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{1,6}",
    ];
    (0..operations().len(), prop::collection::vec(value, 8)).prop_map(|(at, values)| {
        let mut values = values.into_iter();
        let filled = operations()[at].template.split('/').map(|segment| match segment {
            "{entity_type}" => "teams".to_owned(),
            segment if segment.starts_with('{') => values.next().unwrap(),
            segment => segment.to_owned(),
        });
        (at, filled.collect::<Vec<_>>().join("/"))
    })
}

/// One way to write a path in another way, at some place.
#[derive(Clone, Debug)]
enum Twist {
    Encode { upper: bool, twice: bool },
    FlipCase,
    Widen,
    Ignore(char),
    Insert(&'static str),
    Prepend(&'static str),
    Append(&'static str),
    Elsewhere(usize),
}

fn twist() -> impl Strategy<Value = (Twist, prop::sample::Index)> {
    let inserted = prop::sample::select(vec![
        "/",
        "//",
        "/.",
        "/./",
        "/..",
        "/../",
        "\\",
        "\\..\\",
        "%2f",
        "%2F",
        "%5c",
        "%2e",
        "/%2e%2e/",
        "/.%2e/",
        "%252f",
        "%25",
        "%00",
        "%0a",
        ";",
        ";x=1",
        ";/../",
        "?",
        "?/../",
        "#",
        "%23",
        "%3f",
        "%3b",
        " ",
        "%20",
        "+",
        "\t",
        "\0",
        "\u{85}",
        "\u{2028}",
        "\u{ff0f}",
        "\u{2215}",
        "\u{202e}",
        "%EF%BC%8F",
        "%EF%B8%B0",
        "%E2%84%80",
        "%CD%BE",
        "%C2%AD",
        "%E2%80%8B",
        "%E3%80%80",
        "%EF%BB%BF",
        "%C5%BF",
        "%c0%af",
        "%e0%80%af",
        "%ff",
        "%",
        "%u002f",
        "..;/",
        "x",
        "/users",
        "/incidents",
        "/me",
    ]);
    let prepended =
        prop::sample::select(vec!["/", "/x/..", "//host", "http://host", "\\", "/.", "/%2e%2e", " ", "/;a"]);
    let appended = prop::sample::select(vec![
        "/", "/.", "/..", "/../..", "?", "?a=b", "#", ";", "%2f", ".json", "%00", "/%2e%2e",
    ]);
    let twist = prop_oneof![
        4 => (any::<bool>(), any::<bool>()).prop_map(|(upper, twice)| Twist::Encode { upper, twice }),
        2 => Just(Twist::FlipCase),
        2 => Just(Twist::Widen),
        2 => prop::sample::select(vec!['\u{AD}', '\u{200B}', '\u{FE0F}', '\u{3164}', '\u{E0041}']).prop_map(Twist::Ignore),
        4 => inserted.prop_map(Twist::Insert),
        1 => prepended.prop_map(Twist::Prepend),
        2 => appended.prop_map(Twist::Append),
        2 => (0..operations().len()).prop_map(Twist::Elsewhere),
    ];
    (twist, any::<prop::sample::Index>())
}

fn encoded(character: char) -> String {
    character.to_string().bytes().map(percent_encode_byte).collect()
}

fn twisted(path: &str, (twist, index): &(Twist, prop::sample::Index)) -> String {
    let at = path.char_indices().map(|(at, _)| at).nth(index.index(path.chars().count().max(1))).unwrap_or(0);
    let (before, after) = path.split_at(at);
    let first = after.chars().next();
    let rest = first.map_or("", |first| &after[first.len_utf8()..]);
    match twist {
        Twist::Encode { upper, twice } => {
            let mut bytes = [0; 4];
            let character = first.map_or(&b""[..], |first| first.encode_utf8(&mut bytes).as_bytes());
            let percent = if *twice { "%25" } else { "%" };
            let encoded: String = character
                .iter()
                .map(
                    |byte| {
                        if *upper { format!("{percent}{byte:02X}") } else { format!("{percent}{byte:02x}") }
                    },
                )
                .collect();
            format!("{before}{encoded}{rest}")
        }
        Twist::FlipCase => {
            let flip = |c: char| {
                if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            };
            format!("{before}{}{rest}", first.map(flip).map(String::from).unwrap_or_default())
        }
        Twist::Widen => {
            // The full-width forms of ASCII, and the letters that it is folded from.
            let widen = |c: char| match c {
                's' => 'ſ',
                'k' => '\u{212A}',
                '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
                c => c,
            };
            format!("{before}{}{rest}", first.map(widen).map(encoded).unwrap_or_default())
        }
        Twist::Ignore(character) => format!("{before}{}{after}", encoded(*character)),
        Twist::Insert(text) => format!("{before}{text}{after}"),
        Twist::Prepend(text) => format!("{text}{path}"),
        Twist::Append(text) => format!("{path}{text}"),
        Twist::Elsewhere(operation) => {
            let up = "/..".repeat(path.matches('/').count());
            format!("{path}{up}{}", operations()[*operation].template.replace(['{', '}'], ""))
        }
    }
}

fn any_path() -> impl Strategy<Value = (usize, String)> {
    (filled_path(), prop::collection::vec(twist(), 0..4))
        .prop_map(|((at, path), twists)| (at, twists.iter().fold(path, |path, twist| twisted(&path, twist))))
}

/// The scopes of which one alone suffices.
fn sufficient(method: &str, path: &Path<'_>) -> Vec<Scope> {
    let suffices =
        |scope: &&Scope| judge(Policy::PagerDuty, &only(scope), None, method, path).reason == Reason::Allowed;
    every_scope().iter().filter(suffices).cloned().collect()
}

#[test]
fn a_plain_path_is_what_the_liberal_reader_takes_it_for() {
    assert_eq!(liberally("/users/%252e%252e\\a;b/./c?d"), ["a", "c"]);
    assert_eq!(
        liberally("/users/%EF%B8%B0/%EF%BD%8D%C2%ADe/incident%C5%BF/%C3%A9"),
        ["me", "incidents", "é"]
    );
    for operation in operations() {
        let path = operation.template.replace("{entity_type}", "teams").replace(['{', '}'], "x");
        let found = operation_of(operation.method, &liberally(&path)).unwrap();
        assert_eq!(found.id, operation.id);
        let parsed = Path::parse(path.as_bytes()).unwrap();
        assert_eq!(sufficient(operation.method, &parsed), operation.needed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

    /// However a path is spelt, a key with one scope gets nowhere but where that scope leads, even if the program
    /// behind reads the path in the most liberal way.
    #[test]
    fn no_spelling_gives_a_scope_another_ones_operation(
        (operation, path) in any_path(),
        method in prop_oneof![3 => Just(None), 1 => prop::sample::select(&METHODS[..]).prop_map(Some)],
    ) {
        let method = method.unwrap_or(operations()[operation].method);
        if let Some(parsed) = Path::parse(path.as_bytes()) {
            let sufficient = sufficient(method, &parsed);
            let meant = operation_of(method, &liberally(&path));
            if !sufficient.is_empty() {
                prop_assert!(meant.is_some(), "{path:?} is allowed, and nothing behind");
                prop_assert_eq!(&sufficient, &meant.unwrap().needed, "{:?}", path);
                let judged = judge(Policy::PagerDuty, &Access::Full, None, method, &parsed);
                prop_assert_eq!(judged.operation, Some(meant.unwrap().id));
            }
        }
    }

    #[test]
    fn no_spelling_gives_a_read_only_key_a_write(
        (_, path) in any_path(),
        method in prop_oneof![prop::sample::select(&METHODS[..]).prop_map(str::to_owned), "[A-Z ]{0,7}", any::<String>()],
    ) {
        let world = &*SHARED;
        let verdict = world.ask(&world.read_only, &method, &path);
        prop_assert_eq!(verdict.is_allowed(), matches!(method.as_str(), "GET" | "HEAD") && Path::parse(path.as_bytes()).is_some());
    }

    /// The first segment is the resource, for whoever stands behind as for the policy.
    #[test]
    fn by_convention_no_spelling_leads_to_another_resource((_, path) in any_path(), reads: bool) {
        if let Some(parsed) = Path::parse(path.as_bytes()) {
            let method = if reads { "GET" } else { "DELETE" };
            let judged = judge(Policy::Convention, &Access::Scopes(scopes("a.read")), None, method, &parsed);
            if let [scope] = judged.needed.as_ref() {
                let right = if reads { "read" } else { "write" };
                prop_assert_eq!(scope.as_str(), format!("{}.{right}", liberally(&path)[0]), "{:?}", path);
            }
        }
    }

    #[test]
    fn whatever_is_presented_is_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..700),
        scheme in prop::sample::select(vec!["", "Token token=", "Bearer ", "Basic ", "token ", "Token token=u+", "pdus+_0"]),
    ) {
        let mut presented = scheme.as_bytes().to_vec();
        presented.extend_from_slice(&bytes);
        for text in [&bytes, &presented] {
            if let Presented::Secret { secret, .. } = Presented::parse(text) {
                prop_assert!(secret.kind().is_some());
            }
        }
    }

    #[test]
    fn whatever_is_asked_for_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text: String) {
        for target in [bytes.as_slice(), text.as_bytes(), &[b"/", text.as_bytes()].concat()] {
            if let Some(path) = Path::parse(target) {
                for segment in path.segments() {
                    prop_assert!(!["", ".", ".."].contains(&segment) && !segment.contains(['/', '\\', ';', '\0', '#']));
                }
            }
        }
    }

    #[test]
    fn no_answer_holds_the_secret((_, path) in any_path(), method in prop::sample::select(&METHODS[..]), which in 0..5_usize) {
        let world = &*SHARED;
        let made = [&world.read_only, &world.full, &world.token, &world.app_token, &world.integration][which];
        let verdict = world.ask(made, method, &path);
        let told = format!(
            "{} {} {} {:?} {verdict:?}",
            serde_json::to_string(&verdict).unwrap(), verdict.message(), verdict.body(), verdict.headers()
        );
        prop_assert!(!told.contains(&made.secret), "{}", told);
    }
}

/// Credentials that no test changes, and a verifier for them.
struct Shared {
    verifier: pdkeys::verify::Verifier<pdkeys::store::sqlite::SqliteStore>,
    full: Made,
    read_only: Made,
    token: Made,
    app_token: Made,
    integration: Made,
    _world: World,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let world = World::new();
    world.app("bot", scopes("incidents.read"), None);
    let unlimited = Some(RateLimit::Unlimited);
    Shared {
        full: world.key(Access::Full, unlimited),
        read_only: world.key(Access::ReadOnly, unlimited),
        token: world.token(Role::User, Access::Role(None)),
        app_token: world.app_token("bot", None),
        integration: world.integration(DestinationKind::Service, unlimited),
        verifier: world.verifier(UsageRecording::Nowhere),
        _world: world,
    }
});

impl Shared {
    fn ask(&self, made: &Made, method: &str, path: &str) -> Verdict {
        self.verifier.verify(&rest(&made.secret, method, path)).unwrap()
    }
}

/// Something that happens to an account, or a check.
#[derive(Clone, Debug)]
enum Step {
    Check { credential: usize, method: &'static str, path: &'static str },
    Event { credential: usize },
    Disable(usize),
    Enable(usize),
    Rotate { key: usize, overlap: bool },
    Remove(usize),
    Narrow(usize),
    Expire(usize),
    SetRole(Role),
    SetExternalId(bool),
    NarrowApp,
    RevokeTokens,
    SetRestApi(bool),
    SetAdvanced(bool),
    SetPolicy(Policy),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let path = prop::sample::select(vec![
        "/incidents",
        "/users/me",
        "/users/PXYZ",
        "/nowhere",
        "/incidents/",
        "/orders/7",
        "/users",
        "/users/PXYZ/contact_methods",
    ]);
    let method = prop::sample::select(vec!["GET", "POST", "DELETE"]);
    prop_oneof![
        12 => (0..7_usize, method, path).prop_map(|(credential, method, path)| Step::Check { credential, method, path }),
        2 => (0..7_usize).prop_map(|credential| Step::Event { credential }),
        1 => (0..3_usize).prop_map(Step::Disable),
        1 => (0..3_usize).prop_map(Step::Enable),
        1 => (0..3_usize, any::<bool>()).prop_map(|(key, overlap)| Step::Rotate { key, overlap }),
        1 => (0..3_usize).prop_map(Step::Remove),
        1 => (0..3_usize).prop_map(Step::Narrow),
        1 => (0..3_usize).prop_map(Step::Expire),
        2 => prop::sample::select(Role::ALL[1..].to_vec()).prop_map(Step::SetRole),
        1 => any::<bool>().prop_map(Step::SetExternalId),
        1 => Just(Step::NarrowApp),
        1 => Just(Step::RevokeTokens),
        1 => any::<bool>().prop_map(Step::SetRestApi),
        1 => any::<bool>().prop_map(Step::SetAdvanced),
        1 => prop::sample::select(vec![Policy::PagerDuty, Policy::Convention]).prop_map(Step::SetPolicy),
        1 => Just(Step::Wait),
    ]
}

/// Does one step; what an account refuses, such as disabling what is removed, changes nothing.
fn take(world: &World, step: &Step, credentials: &[Made]) {
    let id = |key: &usize| credentials[*key].id.clone();
    let account = |edit| drop(world.try_as(Role::Owner, |session| session.edit_account(edit)));
    match step {
        Step::Check { .. } | Step::Event { .. } => {}
        Step::Disable(key) => {
            drop(world.try_as(Role::Owner, |session| session.disable_keys(&[id(key)], None)));
        }
        Step::Enable(key) => drop(world.try_as(Role::Owner, |session| session.enable_keys(&[id(key)]))),
        Step::Rotate { key, overlap } => {
            let overlap = overlap.then(|| SignedDuration::from_hours(2));
            let mut new = String::new();
            let rotate = |session: &mut pdkeys::manage::Session<'_, _>| {
                session.rotate_key(&id(key), overlap, &mut hand_to(&mut new))
            };
            drop(world.try_as(Role::Owner, rotate));
        }
        Step::Remove(key) => drop(world.try_as(Role::Owner, |session| session.remove_keys(&[id(key)], None))),
        Step::Narrow(key) => {
            let edit = KeyEdit { access: Some(Access::ReadOnly), ..Default::default() };
            drop(world.try_as(Role::Owner, |session| session.edit_key(&id(key), edit)));
        }
        Step::Expire(key) => drop(world.try_as(Role::Owner, |session| {
            let end = session.at() + SignedDuration::from_mins(90);
            session.edit_key(&id(key), KeyEdit { expires_at: Some(Some(end)), ..Default::default() })
        })),
        Step::SetRole(role) => world.set_role("user", *role),
        Step::SetExternalId(noted) => {
            let external_id = noted.then(|| "PXYZ".parse().unwrap());
            let edit = UserEdit { external_id: Some(external_id), ..Default::default() };
            world.act(|session| session.edit_user("user", edit));
        }
        Step::NarrowApp => {
            let edit = AppEdit { scopes: Some(scopes("incidents.read")), ..Default::default() };
            drop(world.try_as(Role::Owner, |session| session.edit_app("bot", edit)));
        }
        Step::RevokeTokens => {
            let edit = AppEdit { revoke_tokens: true, ..Default::default() };
            drop(world.try_as(Role::Owner, |session| session.edit_app("bot", edit)));
        }
        Step::SetRestApi(on) => account(AccountEdit { rest_api: Some(*on), ..Default::default() }),
        Step::SetAdvanced(on) => {
            account(AccountEdit { advanced_permissions: Some(*on), ..Default::default() });
        }
        Step::SetPolicy(policy) => account(AccountEdit { policy: Some(*policy), ..Default::default() }),
        Step::Wait => world.wait(SignedDuration::from_hours(1)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    /// One who has checked all along answers as one who begins now, whatever was checked and changed before.
    #[test]
    fn a_verdict_does_not_depend_on_what_was_checked_before(steps in prop::collection::vec(step(), 20..60)) {
        let world = World::new();
        let unlimited = Some(RateLimit::Unlimited);
        world.app("bot", scopes("incidents.read incidents.write"), unlimited);
        let edit = UserEdit { rate_limit: Some(unlimited), ..Default::default() };
        world.act(|session| session.edit_user("user", edit));
        let credentials = [
            world.key(Access::Full, unlimited),
            world.key(Access::ReadOnly, unlimited),
            world.key(Access::Scopes(scopes("incidents.read orders.write")), unlimited),
            world.token(Role::User, Access::Role(None)),
            world.token(Role::User, Access::Role(Some(scopes("incidents.read")))),
            world.app_token("bot", None),
            world.integration(DestinationKind::Service, unlimited),
        ];
        let long_lived = world.verifier(UsageRecording::InMemory);
        for step in &steps {
            take(&world, step, &credentials);
            let request = || match step {
                Step::Check { credential, method, path } => Some(rest(&credentials[*credential].secret, method, path)),
                Step::Event { credential } => {
                    Some(Request { api: Api::EventsV2, ..rest(&credentials[*credential].secret, "", "") })
                }
                _ => None,
            };
            if let (Some(one), Some(other)) = (request(), request()) {
                let answers = [
                    long_lived.verify(&one).unwrap(),
                    world.verifier(UsageRecording::Nowhere).verify(&other).unwrap(),
                ];
                let [one, other] = answers.map(|verdict| serde_json::to_string(&verdict).unwrap());
                prop_assert_eq!(one, other, "{:?}", step);
            }
        }
    }
}
