//! Whose request it is: the API hears it from pdkeys, and never from the client.

use crate::gateway::Gateway;
use crate::site::Site;

behind_each_gateway!(
    the_api_learns_whose_request_it_is,
    no_client_can_say_who_it_is,
    no_client_can_say_what_it_asked,
    two_keys_are_one_too_many,
);

/// What pdkeys tells about a request.
const TOLD: [&str; 6] = [
    "x-pdkeys-key-id",
    "x-pdkeys-kind",
    "x-pdkeys-user",
    "x-pdkeys-role",
    "x-pdkeys-scopes",
    "x-pdkeys-service",
];

/// How some program or other could read a header's name as one of these.
fn spellings(name: &str) -> Vec<String> {
    let parts: Vec<_> = name.split('-').collect();
    let mut spellings = vec![parts[0].to_owned()];
    for part in &parts[1..] {
        spellings = spellings
            .iter()
            .flat_map(|start| ["-", "_", "."].map(|between| format!("{start}{between}{part}")))
            .collect();
    }
    spellings
}

fn the_api_learns_whose_request_it_is(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "pager", "--scope", "incidents.read", "--scope", "users.read"]);
    let answer = site.get("/incidents").key(&key.secret).send();
    let told = answer.reached();
    assert_eq!(told.header("x-pdkeys-key-id"), Some(key.id.as_str()), "{told:?}");
    assert_eq!(told.header("x-pdkeys-kind"), Some("general"), "{told:?}");
    assert_eq!(told.header("x-pdkeys-scopes"), Some("incidents.read users.read"), "{told:?}");
    assert_eq!(told.header("x-pdkeys-role").unwrap_or_default(), "", "{told:?}");
    assert_eq!(told.header("authorization"), None, "{told:?}");

    let token = site.account.make(&["token", "create", "laptop"]);
    let answer = site.get("/users/me").key(&token.secret).send();
    let told = answer.reached();
    assert_eq!(told.header("x-pdkeys-key-id"), Some(token.id.as_str()), "{told:?}");
    assert_eq!(told.header("x-pdkeys-kind"), Some("user-token"), "{told:?}");
    assert_eq!(told.header("x-pdkeys-role"), Some("owner"), "{told:?}");
    assert!(told.header("x-pdkeys-user").is_some_and(|user| !user.is_empty()), "{told:?}");

    // To the client it is nobody's business.
    for answer in [answer, site.post("/incidents").key(&key.secret).send()] {
        let leaked: Vec<_> = answer.header_names().filter(|name| name.starts_with("x-pdkeys")).collect();
        assert_eq!(leaked, [""; 0], "{answer:?}");
    }
}

fn no_client_can_say_who_it_is(gateway: Gateway) {
    const FORGED: &str = "forged";
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "deploy"]);
    let mut request = site.get("/incidents").key(&key.secret);
    for name in TOLD.iter().chain(&["x-pdkeys-status", "x-pdkeys-body", "x-pdkeys-other"]) {
        for spelling in spellings(name) {
            request = request.header(&spelling, FORGED);
        }
    }
    request = request.header("X-PDKEYS-USER", FORGED).header("x_pDKEYS_uSER", FORGED);
    let told = request.send().reached();
    assert_eq!(told.header("x-pdkeys-key-id"), Some(key.id.as_str()), "{told:?}");
    for (name, value) in &told.headers {
        let read = name.replace(['_', '.'], "-");
        // nginx can only throw away what it knows by name; what pdkeys never says means nothing.
        let meaningless = gateway == Gateway::Nginx && name == "x-pdkeys-other";
        if read.starts_with("x-pdkeys") && !meaningless {
            assert_ne!(value, FORGED, "{told:?}");
            assert_eq!(&read, name, "{told:?}");
        }
    }
}

fn no_client_can_say_what_it_asked(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "pager", "--scope", "incidents.read"]);
    let families = [
        [("X-Original-Method", "GET"), ("X-Original-URI", "/incidents")],
        [("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/incidents")],
        [("X_Original_Method", "GET"), ("X_Original_URI", "/incidents")],
        [("X_Forwarded_Method", "GET"), ("X_Forwarded_Uri", "/incidents")],
    ];
    for said in families {
        let request = |method: &str, target: &str| {
            let request = site.get(target).method(method).key(&key.secret);
            said.iter().fold(request, |request, (name, value)| request.header(name, value)).send()
        };
        assert_eq!(request("GET", "/incidents").reached().target, "/incidents");
        assert_eq!(request("POST", "/incidents").status, 403, "{said:?}");
        assert_eq!(request("GET", "/users").status, 403, "{said:?}");
    }
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let answer = site.get("/incidents").key(&key.secret).header(name, "DELETE").send();
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
    }
    assert_eq!(site.api.requests(), families.len());
}

fn two_keys_are_one_too_many(gateway: Gateway) {
    let site = Site::behind(gateway);
    let one = site.account.make(&["create", "one", "--read-only"]);
    let other = site.account.make(&["create", "other"]);
    for (first, second) in [(&one, &other), (&other, &one), (&one, &one)] {
        let answer = site.get("/incidents").key(&first.secret).key(&second.secret).send();
        assert!(matches!(answer.status, 400 | 401), "{answer:?}");
    }
    assert_eq!(site.api.requests(), 0);
}
