//! What a client gets, whichever gateway stands before the API: the answers that PagerDuty documents.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::site::Site;

behind_each_gateway!(
    the_documented_answers_reach_the_client,
    a_limit_that_is_used_up_is_told,
    what_is_switched_off_is_refused_at_the_next_request,
    requests_pass_as_they_are,
    without_pdkeys_nobody_gets_in,
    a_pdkeys_that_hangs_is_not_waited_for,
);

fn error(message: &str, code: u32) -> Value {
    json!({ "error": { "message": message, "code": code } })
}

fn the_documented_answers_reach_the_client(gateway: Gateway) {
    let site = Site::behind(gateway);
    let full = site.account.make(&["create", "deploy"]);
    let read_only = site.account.make(&["create", "board", "--read-only"]);
    let scoped = site.account.make(&["create", "pager", "--scope", "incidents.read"]);
    let token = site.account.make(&["token", "create", "laptop"]);

    let answer = site.get("/incidents").key(&full.secret).send();
    assert_eq!(answer.reached().target, "/incidents");
    if gateway.always_tells_the_limit() {
        assert_eq!(answer.header("ratelimit-limit"), Some("960"), "{answer:?}");
        assert_eq!(answer.header("ratelimit-remaining"), Some("959"), "{answer:?}");
        assert!(answer.header("ratelimit-reset").is_some(), "{answer:?}");
    }
    assert_eq!(site.post("/incidents").key(&full.secret).body("{}").send().status, 200);
    assert_eq!(site.get("/users/me").key(&token.secret).send().status, 200);
    let before = site.api.requests();

    let answer = site.get("/users/me").key(&full.secret).send();
    let account_level = "Because this request was made using an account-level access token, we were unable to \
                         determine the user's identity. Please use a user-level token.";
    assert_eq!((answer.status, answer.json()), (400, json!({ "error": account_level })));

    let unknown = "y_NbAkKc66ryYTWUXYEu";
    for refused in [
        site.get("/incidents"),
        site.get("/incidents").key(unknown),
        site.get("/incidents").key("not a key"),
        site.get("/incidents").header("Authorization", &format!("Bearer {}", full.secret)),
        site.post("/incidents").key(unknown).body("{}"),
    ] {
        let answer = refused.send();
        assert_eq!((answer.status, answer.json()), (401, error("Unauthorized", 2006)));
        assert_eq!(answer.header("ratelimit-limit"), None, "{answer:?}");
    }

    let answer = site.post("/incidents").key(&read_only.secret).body("{}").send();
    assert_eq!((answer.status, answer.json()), (403, error("Access Denied", 2010)));
    assert_eq!(answer.header("ratelimit-limit"), Some("960"), "{answer:?}");
    let answer = site.post("/incidents").key(&scoped.secret).body("{}").send();
    let missing = json!({ "error": {
        "message": "Token missing required scopes",
        "required_scopes": "incidents.write",
        "token_scopes": "incidents.read",
    } });
    assert_eq!((answer.status, answer.json()), (403, missing));

    site.account.run(&["account", "set", "--advanced-permissions", "off"]);
    let answer = site.get("/incidents").key(&token.secret).send();
    assert_eq!(answer.status, 402, "{answer:?}");
    assert_eq!(answer.json(), error("Account does not have the required abilities", 2014));
    site.account.run(&["account", "set", "--advanced-permissions", "on"]);
    assert_eq!(site.api.requests(), before, "a request that was refused reached the API");
    assert_eq!(site.get("/incidents").key(&token.secret).send().status, 200);
}

fn a_limit_that_is_used_up_is_told(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "crawler", "--rate-limit", "2/min"]);
    let ask = || site.get("/incidents").key(&key.secret).send();
    // Each request counts once, though it may be asked about and refused in two steps of the gateway.
    assert_eq!((ask().status, ask().status), (200, 200));
    let answer = ask();
    assert_eq!((answer.status, answer.json()), (429, error("Rate Limit Exceeded", 2020)));
    assert_eq!(answer.header("ratelimit-limit"), Some("2"), "{answer:?}");
    assert_eq!(answer.header("ratelimit-remaining"), Some("0"), "{answer:?}");
    let reset: u32 = answer.header("ratelimit-reset").unwrap().parse().unwrap();
    assert!((1..=60).contains(&reset), "{answer:?}");
    assert_eq!(site.api.requests(), 2);
}

fn what_is_switched_off_is_refused_at_the_next_request(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "deploy"]);
    let ask = || site.get("/incidents").key(&key.secret).send().status;
    for _ in 0..3 {
        assert_eq!(ask(), 200);
        site.account.run(&["disable", &key.id, "--yes", "--quiet"]);
        assert_eq!(ask(), 401);
        site.account.run(&["enable", &key.id, "--quiet"]);
        assert_eq!(ask(), 200);
    }
    site.account.run(&["remove", &key.id, "--yes", "--quiet"]);
    assert_eq!(ask(), 401);
}

fn requests_pass_as_they_are(gateway: Gateway) {
    const LARGE: usize = 8 << 20;
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "deploy"]);
    let get = |target: &str| site.get(target).key(&key.secret);

    let target = "/incidents?limit=2&since=2026-01-01T00:00:00%2B01:00&next=/../users&empty=&a=%25";
    assert_eq!(get(target).send().reached().target, target);
    assert_eq!(
        get("/teams/P%C3%BC/members?").send().reached().target.trim_end_matches('?'),
        "/teams/P%C3%BC/members"
    );

    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        assert_eq!(get("/incidents/Q1").method(method).send().reached().method, method);
    }
    let answer = get("/incidents").method("HEAD").send();
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let answer = site.get("/incidents").method("HEAD").send();
    assert_eq!((answer.status, answer.body.as_str()), (401, ""));

    let sent = site.post("/incidents").key(&key.secret).body(vec![b'x'; LARGE]).send().reached();
    assert_eq!((sent.method.as_str(), sent.length), ("POST", LARGE));
    let chunked = site.post("/incidents").key(&key.secret).header("Transfer-Encoding", "chunked");
    assert_eq!(chunked.body(vec![b'x'; LARGE]).send().reached().length, LARGE);
    let before = site.api.requests();
    let refused = site.post("/incidents").body(vec![b'x'; LARGE]).send();
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(site.api.requests(), before);
}

fn without_pdkeys_nobody_gets_in(gateway: Gateway) {
    let mut site = Site::behind(gateway);
    let key = site.account.make(&["create", "deploy"]);
    assert_eq!(site.get("/incidents").key(&key.secret).send().status, 200);
    site.pdkeys.kill();
    for _ in 0..3 {
        for request in [site.get("/incidents").key(&key.secret), site.get("/incidents")] {
            let answer = request.send();
            assert_eq!(answer.status, gateway.status_without_pdkeys(), "{answer:?}");
        }
    }
    assert_eq!(site.api.requests(), 1);
}

fn a_pdkeys_that_hangs_is_not_waited_for(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "deploy"]);
    assert_eq!(site.get("/incidents").key(&key.secret).send().status, 200);
    // It keeps its connections, and does nothing more.
    kill_process(Pid::from_child(&site.pdkeys.child), Signal::STOP).unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let answer = site.post("/oauth/token").body("grant_type=client_credentials").send();
            assert!(matches!(answer.status, 500..=504), "{answer:?}");
        });
        // Traefik gives up by itself, after 30 seconds that cannot be set.
        if gateway != Gateway::Traefik {
            let answer = site.get("/incidents").key(&key.secret).send();
            assert_eq!(answer.status, gateway.status_without_pdkeys(), "{answer:?}");
            assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
        }
    });
    assert!(began.elapsed() < Duration::from_secs(14), "{:?}", began.elapsed());
    assert_eq!(site.api.requests(), 1);
}
