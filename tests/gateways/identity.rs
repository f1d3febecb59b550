//! Whose request it is: the API hears it from pdkeys, and never from the client.

use crate::gateway::Gateway;
use crate::raw;
use crate::site::Site;

behind_each_gateway!(
    the_api_learns_whose_request_it_is,
    no_client_can_say_who_it_is,
    no_alias_of_a_name_reaches_the_api,
    no_client_can_say_what_it_asked,
    no_client_takes_a_header_away,
    access_is_always_told,
    two_keys_are_one_too_many,
);

/// What pdkeys tells about a request.
const TOLD: [&str; 7] = [
    "x-pdkeys-key-id",
    "x-pdkeys-kind",
    "x-pdkeys-access",
    "x-pdkeys-user",
    "x-pdkeys-role",
    "x-pdkeys-scopes",
    "x-pdkeys-service",
];

/// Every character that a header's name may have beside letters and digits, but for `-`.
const BETWEEN: &str = "!#$%&'*+.^_`|~";

/// A header's name as a program reads it that makes a variable of it.
fn read_by_cgi(name: &str) -> String {
    name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect()
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
    let mut request = site.get("/incidents").key(&key.secret).header("X-PDKEYS-USER", FORGED);
    for name in TOLD.iter().chain(&["x-pdkeys-status", "x-pdkeys-body"]) {
        request = request.header(name, FORGED);
    }
    let told = request.send().reached();
    assert_eq!(told.header("x-pdkeys-key-id"), Some(key.id.as_str()), "{told:?}");
    for (name, value) in &told.headers {
        assert_ne!(value, FORGED, "{name}: {told:?}");
    }
    // What pdkeys never says means nothing yet.
    let answer = site.get("/incidents").key(&key.secret).header("x-pdkeys-other", FORGED).send();
    assert!(answer.status == 400 || answer.reached().header("x-pdkeys-other").is_none(), "{answer:?}");
}

fn no_alias_of_a_name_reaches_the_api(gateway: Gateway) {
    const FORGED: &str = "/forged";
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "deploy"]);
    let authorization = format!("Token token={}", key.secret);
    let mut answers = 0;
    for name in [
        "X-Pdkeys-Role",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Script-Name",
        "SCRIPT-NAME",
        "X-Forwarded-Uri",
        "X-Original-URI",
    ] {
        for between in BETWEEN.chars() {
            let between = between.to_string();
            for alias in [name.replace('-', &between), name.replacen('-', &between, 1)] {
                let lines = [("Authorization", authorization.as_str()), (alias.as_str(), FORGED)];
                let answer = raw::get(site.port, "/incidents", &lines);
                if answer.status != 400 {
                    let reached = answer.reached();
                    let forged = reached.headers.iter().find(|(_, value)| value == FORGED);
                    assert_eq!(forged, None, "{alias}: {reached:?}");
                }
                answers += 1;
            }
        }
        let answer = raw::get(site.port, "/incidents", &[("Authorization", &authorization), (name, FORGED)]);
        if answer.status != 400 {
            let reached = answer.reached();
            assert!(reached.headers.iter().all(|(_, value)| value != FORGED), "{name}: {reached:?}");
        }
    }
    assert_eq!(answers, 8 * 2 * BETWEEN.len());
    // What is an alias of nothing may be sent, whatever becomes of it.
    let other = raw::get(site.port, "/incidents", &[("Authorization", &authorization), ("X_Trace_Id", "1")]);
    assert_eq!(read_by_cgi(&other.reached().target), "-incidents");
}

/// `Connection` names headers that are not passed on. What a client names there changes neither what is checked nor
/// what the API hears.
fn no_client_takes_a_header_away(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "pager", "--scope", "incidents.read"]);
    let authorization = format!("Token token={}", key.secret);
    let ask = |method: &str, target: &str, lines: &[(&str, &str)]| {
        let lines = [&[("Authorization", authorization.as_str())], lines].concat();
        raw::ask(site.port, method, target, &lines)
    };
    let mut connections: Vec<String> = TOLD.iter().map(|name| (*name).to_owned()).collect();
    connections.push(TOLD.join(", "));
    connections.push("close,X-PDKEYS-SCOPES , x-pdkeys-access".to_owned());
    for connection in &connections {
        let reached = ask("GET", "/incidents", &[("Connection", connection)]).reached();
        for (name, value) in [
            ("x-pdkeys-key-id", key.id.as_str()),
            ("x-pdkeys-kind", "general"),
            ("x-pdkeys-access", "scopes"),
            ("x-pdkeys-scopes", "incidents.read"),
        ] {
            assert_eq!(reached.header(name), Some(value), "{connection}: {reached:?}");
        }
    }
    for connection in [
        "X-Forwarded-Uri, X-Forwarded-Method",
        "X-Forwarded-Uri",
        "X-Original-URI, X-Original-Method",
        "X-Original-Method",
        "Authorization",
        "Host",
        "Content-Length",
    ] {
        let lines = [
            ("Connection", connection),
            ("X-Original-Method", "GET"),
            ("X-Original-URI", "/incidents"),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Uri", "/incidents"),
        ];
        for lines in [&lines[..], &lines[..1]] {
            assert!(matches!(ask("GET", "/incidents", lines).status, 200 | 400 | 401), "{connection}");
            assert!(matches!(ask("POST", "/incidents", lines).status, 400..=403), "{connection}");
            assert!(matches!(ask("GET", "/users", lines).status, 400..=403), "{connection}");
        }
    }
    for name in ["X-HTTP-Method-Override", "X-Rewrite-URL"] {
        let answer = ask("GET", "/incidents", &[("Connection", name), (name, "DELETE")]);
        assert!(answer.status == 400 || answer.reached().header(&name.to_lowercase()).is_none(), "{name}");
    }
    let seen = site.api.seen();
    assert!(seen.iter().all(|request| request == "GET /incidents"), "{seen:?}");
}

fn access_is_always_told(gateway: Gateway) {
    let site = Site::behind(gateway);
    site.account.run(&["service", "create", "checkout", "--quiet"]);
    let integration =
        ["integration", "create", "--service", "checkout", "--type", "events-api-v2", "--name", "alerts"];
    for (arguments, access) in [
        (&["create", "deploy"][..], "full"),
        (&["create", "board", "--read-only"], "read-only"),
        (&["create", "pager", "--scope", "incidents.read"], "scopes"),
        (&["token", "create", "laptop"], "role"),
        (&["token", "create", "script", "--scope", "incidents.read"], "role-scopes"),
        (&integration, "events"),
    ] {
        let key = site.account.make(arguments);
        let answer = if access == "events" {
            site.post(&format!("/integration/{}/enqueue", key.secret)).body("{}").send()
        } else {
            site.get("/incidents").key(&key.secret).send()
        };
        assert_eq!(answer.reached().header("x-pdkeys-access"), Some(access), "{arguments:?}");
    }
    let (client, secret) = site.account.register(["incidents.read", "users.read"]);
    let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
    let granted = site.post("/oauth/token").body(form).send().json();
    let bearer = format!("Bearer {}", granted["access_token"].as_str().unwrap());
    let reached = site.get("/incidents").header("Authorization", &bearer).send().reached();
    assert_eq!(reached.header("x-pdkeys-access"), Some("scopes"));
}

fn no_client_can_say_what_it_asked(gateway: Gateway) {
    let site = Site::behind(gateway);
    let key = site.account.make(&["create", "pager", "--scope", "incidents.read"]);
    let families = [
        [("X-Original-Method", "GET"), ("X-Original-URI", "/incidents")],
        [("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/incidents")],
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
    for name in
        ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Rewrite-URL", "X-Script-Name"]
    {
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
