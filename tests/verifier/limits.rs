//! Windows and limits, with a clock that the test turns.

use jiff::SignedDuration;
use pdkeys::manage::DestinationKind;
use pdkeys::model::{Access, RateLimit, Role, UserEdit};
use pdkeys::ports::Clock as _;
use pdkeys::verify::{Api, RateState, Reason, UsageRecording};

use crate::world::{World, event, rest, scopes};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

#[test]
fn a_window_of_a_minute_begins_with_the_first_counted_check() {
    let world = World::new();
    let key = world.key(Access::Full, Some(RateLimit::PerMinute(2))).secret;
    for counting in [UsageRecording::InStore, UsageRecording::InMemory] {
        let verifier = world.verifier(counting);
        let check = || {
            let verdict = verifier.verify(&rest(&key, "GET", "/incidents")).unwrap();
            (verdict.reason, verdict.rate_limit.unwrap())
        };
        let state = |remaining, reset| RateState { limit: 2, remaining, reset };
        assert_eq!(check(), (Reason::Allowed, state(1, 60)));
        world.wait(SECOND * 20);
        assert_eq!(check(), (Reason::Allowed, state(0, 40)));
        world.wait(SECOND * 39);
        assert_eq!(check(), (Reason::RateLimited, state(0, 1)));
        world.wait(SignedDuration::from_millis(999));
        assert_eq!(check(), (Reason::RateLimited, state(0, 1)));
        world.wait(SignedDuration::from_millis(1));
        assert_eq!(check(), (Reason::Allowed, state(1, 60)), "{counting:?}");
        world.wait(SECOND * 60);
    }
}

/// Two that check at once take the time one after the other, and may be counted the other way round.
#[test]
fn a_check_that_comes_late_to_a_window_is_counted_in_it() {
    let world = World::new();
    let key = world.key(Access::Full, Some(RateLimit::PerMinute(1))).secret;
    for counting in [UsageRecording::InStore, UsageRecording::InMemory] {
        let verifier = world.verifier(counting);
        let check = || verifier.verify(&rest(&key, "GET", "/incidents")).unwrap();
        assert_eq!(check().reason, Reason::Allowed);
        for late in [1, 5_000] {
            world.wait(SignedDuration::from_millis(-late));
            let verdict = check();
            assert_eq!(verdict.reason, Reason::RateLimited, "{late} ms, {counting:?}");
            assert_eq!(verdict.rate_limit.unwrap().reset, 60);
            world.wait(SignedDuration::from_millis(late));
        }
        world.wait(SECOND * 60);
    }
}

#[test]
fn threads_that_check_at_once_never_exceed_the_limit_together() {
    let world = World::new();
    let key = world.key(Access::Full, Some(RateLimit::PerMinute(100))).secret;
    let place = world.place();
    let verifier = pdkeys::verify::Verifier::new(
        world.store(),
        move || pdkeys::store::sqlite::SqliteStore::open(&place),
        UsageRecording::InMemory,
        pdkeys::ports::SystemClock,
    )
    .unwrap();
    let allowed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let allowed = |_: &i32| verifier.verify(&rest(&key, "GET", "/")).unwrap().is_allowed();
                    (0..100).filter(allowed).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(allowed, 100);
}

#[test]
fn the_headers_tell_the_limit_on_every_answer_but_401_and_the_400_of_events() {
    let world = World::new();
    let key = world.key(Access::ReadOnly, Some(RateLimit::PerMinute(5))).secret;
    let events = world.integration(DestinationKind::Service, Some(RateLimit::PerMinute(1))).secret;
    let verifier = world.verifier(UsageRecording::InMemory);
    let headers = |request| {
        let verdict = verifier.verify(&request).unwrap();
        let told: Vec<_> =
            verdict.headers().into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{} {}", verdict.status(), told.join(", "))
    };
    let of = |remaining| format!("ratelimit-limit: 5, ratelimit-remaining: {remaining}, ratelimit-reset: 60");
    assert_eq!(headers(rest(&key, "GET", "/incidents")), format!("200 {}", of(4)));
    assert_eq!(headers(rest(&key, "POST", "/incidents")), format!("403 {}", of(3)));
    assert_eq!(headers(rest(&key, "GET", "//")), format!("400 {}", of(2)));
    world.act(|session| {
        session.edit_account(pdkeys::model::AccountEdit { rest_api: Some(false), ..Default::default() })
    });
    assert_eq!(headers(rest(&key, "GET", "/incidents")), format!("402 {}", of(1)));
    world.act(|session| {
        session.edit_account(pdkeys::model::AccountEdit { rest_api: Some(true), ..Default::default() })
    });
    assert_eq!(headers(rest(&key, "GET", "/incidents")), format!("200 {}", of(0)));
    assert_eq!(headers(rest(&key, "GET", "/incidents")), format!("429 {}", of(0)));
    let of_events = "ratelimit-limit: 1, ratelimit-remaining: 0, ratelimit-reset: 60";
    assert_eq!(headers(event(&events, Api::EventsV2)), format!("202 {of_events}"));
    assert_eq!(headers(event(&events, Api::EventsV2)), format!("429 {of_events}"));
    assert_eq!(headers(event(&events, Api::EventsV1)), format!("403 {of_events}"));
    for (nobody, status) in
        [(rest("x", "GET", "/"), 401), (event("x", Api::EventsV2), 400), (event(&key, Api::EventsV1), 400)]
    {
        assert_eq!(headers(nobody), format!("{status} "));
    }
}

#[test]
fn without_a_limit_nothing_is_told_and_nothing_ends() {
    let world = World::new();
    let key = world.key(Access::Full, Some(RateLimit::Unlimited)).secret;
    let verifier = world.verifier(UsageRecording::InMemory);
    for _ in 0..2_000 {
        let verdict = verifier.verify(&rest(&key, "GET", "/incidents")).unwrap();
        assert!(verdict.is_allowed() && verdict.rate_limit.is_none() && verdict.headers().is_empty());
    }
}

#[test]
fn of_960_a_minute_the_961st_is_too_much_and_of_120_events_the_121st() {
    let world = World::new();
    let verifier = world.verifier(UsageRecording::InMemory);
    let key = world.key(Access::Full, None).secret;
    let tokens = [(); 2].map(|()| world.token(Role::User, Access::Role(None)).secret);
    world.app("bot", scopes("incidents.read"), None);
    let app_tokens = [(); 2].map(|()| world.app_token("bot", None).secret);
    for secrets in [&[key.clone(), key][..], &tokens, &app_tokens] {
        for number in 0..970 {
            let verdict = verifier.verify(&rest(&secrets[number % 2], "GET", "/incidents")).unwrap();
            assert_eq!(verdict.reason == Reason::Allowed, number < 960, "{number}");
        }
    }
    let events = world.integration(DestinationKind::Orchestration, None).secret;
    for number in 0..130 {
        let verdict = verifier.verify(&event(&events, Api::EventsV2)).unwrap();
        assert_eq!(verdict.reason == Reason::Allowed, number < 120, "{number}");
    }
}

#[test]
fn a_limit_that_is_changed_counts_at_once() {
    let world = World::new();
    let verifier = world.verifier(UsageRecording::InMemory);
    let token = world.token(Role::User, Access::Role(None)).secret;
    let check = || verifier.verify(&rest(&token, "GET", "/incidents")).unwrap();
    let set = |rate_limit| {
        let edit = UserEdit { rate_limit: Some(rate_limit), ..Default::default() };
        world.act(|session| session.edit_user("user", edit));
    };
    for _ in 0..3 {
        assert!(check().is_allowed());
    }
    set(Some(RateLimit::PerMinute(3)));
    assert_eq!(check().reason, Reason::RateLimited);
    set(Some(RateLimit::PerMinute(9)));
    assert_eq!(check().rate_limit.unwrap().remaining, 4);
    set(Some(RateLimit::Unlimited));
    assert!(check().is_allowed());
}

#[test]
fn what_was_counted_in_memory_is_in_the_store_at_the_end() {
    let world = World::new();
    let key = world.key(Access::Full, None);
    let verifier = world.verifier(UsageRecording::InMemory);
    for _ in 0..3 {
        assert!(verifier.verify(&rest(&key.secret, "GET", "/incidents")).unwrap().is_allowed());
    }
    assert!(verifier.verify(&rest(&key.secret, "GET", "//")).unwrap().reason == Reason::AmbiguousPath);
    verifier.close().unwrap();
    assert_eq!(world.act(|session| session.key(&key.id)).last_used_at, Some(world.clock.now()));
    let usage = rusqlite::Connection::open(world.place().usage()).unwrap();
    let sums: (u64, u64) = usage
        .query_row("SELECT sum(allowed), sum(denied) FROM hourly WHERE id = ?1", [&key.id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(sums, (3, 1));
}
