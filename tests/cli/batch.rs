//! `verify --batch`: a question a line, a verdict a line.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::checking::{
    Coprocess, UNKNOWN, batch, line, make_app_token, make_integration, make_token, reason_for,
    run_with_input, token_id,
};
use crate::session::{Machine, text_of};

#[test]
fn each_line_gets_its_verdict_in_order_and_further_members_come_back() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &["--read-only"]);
    let input = format!(
        "{}\n{}\r\n{}\n",
        json!({ "key": key, "method": "GET", "path": "/incidents", "id": 7, "more": { "b": [1, null], "a": "x" } }),
        line(&format!("Token token={key}"), "POST", "/incidents"),
        line(UNKNOWN, "GET", "/incidents"),
    );
    let (_, ran) = batch(&machine, input.as_bytes());
    assert_snapshot!(ran, @r#"
    exit: 3
    --- stdout
    {"allowed":true,"reason":"allowed","status":200,"message":"key [K1] (ci) may do this","credential":{"kind":"general","id":"[K1]","description":"ci","hint":"[HINT 1]","owner":null,"role":null,"access":"read-only","scopes":null,"service":null,"orchestration":null,"app":null},"needed":["incidents.read"],"rate_limit":{"limit":960,"remaining":959,"reset":60},"operation":"listIncidents","request":{"id":7,"more":{"b":[1,null],"a":"x"}}}
    {"allowed":false,"reason":"read-only","status":403,"message":"key [K1] (ci) is read-only, and this needs incidents.write","credential":{"kind":"general","id":"[K1]","description":"ci","hint":"[HINT 1]","owner":null,"role":null,"access":"read-only","scopes":null,"service":null,"orchestration":null,"app":null},"needed":["incidents.write"],"rate_limit":{"limit":960,"remaining":958,"reset":60},"operation":"createIncident"}
    {"allowed":false,"reason":"unknown","status":401,"message":"no such key is in the store","credential":null,"needed":[],"rate_limit":null,"operation":null}
    --- stderr
    "#);
}

#[test]
fn it_ends_with_1_for_a_line_without_an_answer_else_3_for_a_denial_else_0() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &["--read-only"]);
    let (good, denied) = (line(&key, "GET", "/incidents"), line(&key, "POST", "/incidents"));
    for (input, code) in [
        (String::new(), 0),
        (format!("{good}\n"), 0),
        (format!("{good}"), 0),
        (format!("{good}\n{denied}\n{good}\n"), 3),
        (format!("{denied}\nnonsense\n{good}\n"), 1),
        (format!("nonsense\n{good}\n"), 1),
        ("\n".to_owned(), 0),
        (format!("\u{feff}{good}\n \t\r\n\n{good}\n\n"), 0),
        (format!("\u{feff}\r\n{denied}\n"), 3),
    ] {
        let (answers, ran) = batch(&machine, input.as_bytes());
        assert_eq!(ran.code(), code, "{input:?}: {ran}");
        let asked = input.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty());
        assert_eq!(answers.len(), asked.count(), "{ran}");
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn a_bad_line_is_told_by_its_number_and_never_by_its_content_and_the_rest_goes_on() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    let good = line(&key, "GET", "/incidents").to_string();
    let ten_mebibytes = "x".repeat(10 << 20);
    let long_key = json!({ "key": "k".repeat(10 << 20), "method": "GET", "path": "/incidents" }).to_string();
    let deep = format!("{{\"key\": {}\"{key}\"", "[".repeat(100_000));
    let bad: Vec<Vec<u8>> = vec![
        b"\0".to_vec(),
        b"not json".to_vec(),
        key.clone().into_bytes(),
        format!("Token token={key}").into_bytes(),
        format!("{{\"key\": \"{key}\"").into_bytes(),
        format!("{good} {good}").into_bytes(),
        format!("[{good}]").into_bytes(),
        format!("\"{key}\"").into_bytes(),
        b"null".to_vec(),
        b"{}".to_vec(),
        json!({ "method": "GET", "path": "/incidents" }).to_string().into_bytes(),
        json!({ "key": key, "path": "/incidents" }).to_string().into_bytes(),
        json!({ "key": key, "method": "GET" }).to_string().into_bytes(),
        json!({ "key": key, "method": null, "path": "/incidents" }).to_string().into_bytes(),
        json!({ "key": [key], "method": "GET", "path": "/incidents" }).to_string().into_bytes(),
        json!({ "key": null, "method": "GET", "path": "/incidents" }).to_string().into_bytes(),
        json!({ "key": key, "method": "GET", "path": "/incidents", "api": "soap" }).to_string().into_bytes(),
        json!({ "key": key, "method": "GET", "path": "/incidents", "api": 1 }).to_string().into_bytes(),
        json!({ "KEY": key, "method": "GET", "path": "/incidents" }).to_string().into_bytes(),
        json!({ "api": "events-v2" }).to_string().into_bytes(),
        format!("{{\"key\": \"{key}\", \"key\": \"{key}\", \"method\": \"GET\", \"path\": \"/\"}}")
            .into_bytes(),
        format!("{{\"key\": \"{key}\", \"method\": \"POST\", \"method\": \"GET\", \"path\": \"/\"}}")
            .into_bytes(),
        format!("{{\"key\": \"{key}\", \"method\": \"GET\", \"path\": \"/\", \"path\": \"/x\"}}")
            .into_bytes(),
        format!("{{\"key\": \"{key}\", \"k\\u0065y\": \"{key}\", \"method\": \"GET\", \"path\": \"/\"}}")
            .into_bytes(),
        format!("{{\"key\": \"{key}\", \"method\": \"GET\", \"path\": \"/\", \"id\": 1, \"id\": 1}}")
            .into_bytes(),
        [format!("{{\"key\": \"{key}\", \"method\": \"GET\", \"path\": \"/").as_bytes(), b"\xff\"}"].concat(),
        [b"\xef\xbb\xbf", good.as_bytes()].concat(),
        [good.as_bytes(), b"\0"].concat(),
        format!("{{\"key\": \"{key}\u{1}\", \"method\": \"GET\", \"path\": \"/\"}}").into_bytes(),
        ten_mebibytes.into_bytes(),
        long_key.into_bytes(),
        deep.into_bytes(),
    ];
    let mut input = Vec::new();
    for line in &bad {
        input.extend_from_slice(line);
        input.push(b'\n');
        input.extend_from_slice(good.as_bytes());
        input.push(b'\n');
    }
    let (answers, ran) = batch(&machine, &input);
    assert_eq!((ran.code(), ran.stderr.as_str()), (1, ""));
    assert_eq!(answers.len(), 2 * bad.len());
    for (at, pair) in answers.chunks(2).enumerate() {
        let shown = String::from_utf8_lossy(&bad[at]).chars().take(80).collect::<String>();
        let told: Vec<_> = pair[0].as_object().unwrap().keys().collect();
        assert_eq!(told, ["allowed", "reason", "error", "line"], "{shown}");
        assert_eq!((&pair[0]["allowed"], &pair[0]["reason"]), (&json!(false), &Value::Null), "{shown}");
        assert_eq!(pair[0]["line"], 2 * at + 1, "{shown}");
        let error = text_of(&pair[0], "error");
        assert!(!error.is_empty() && error.len() < 100, "{error}");
        assert!(!error.contains(&key) && !error.contains("soap") && !error.contains("xxx"), "{error}");
        assert_eq!(pair[1]["allowed"], true, "the line after {shown}: {}", pair[1]);
    }
    let wrong = |at: usize| text_of(&answers[2 * at], "error");
    assert_eq!([wrong(10), wrong(11), wrong(12)], ["key is missing", "method is missing", "path is missing"]);
    assert!(wrong(20).starts_with("a member is given twice"), "{}", wrong(20));
    assert_eq!([wrong(29), wrong(30)], ["longer than 1048576 bytes"; 2].map(str::to_owned));
}

#[test]
fn what_is_presented_badly_in_a_line_is_malformed_or_missing() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    for (presented, expected) in [
        (key.clone(), "allowed"),
        (format!("{key}\n"), "allowed"),
        (format!("token token={key}"), "allowed"),
        (String::new(), "missing"),
        (format!(" {key}"), "malformed"),
        (format!("{key} "), "malformed"),
        (format!("\"{key}\""), "malformed"),
        (format!("{key}\n{key}"), "malformed"),
        (format!("{key}\0"), "malformed"),
        (format!("Basic {key}"), "malformed"),
        ("a".repeat(1 << 19), "malformed"),
    ] {
        let (answers, ran) =
            batch(&machine, format!("{}\n", line(&presented, "GET", "/incidents")).as_bytes());
        assert_eq!(answers[0]["reason"], expected, "{presented:.60?}");
        assert_eq!(ran.code(), if expected == "allowed" { 0 } else { 3 });
    }
}

#[test]
fn events_need_neither_method_nor_path() {
    let machine = Machine::with_store();
    let (_, key) = make_integration(&machine, &[]);
    let ask = |api: &str| format!("{}\n", json!({ "key": key, "api": api }));
    let (answers, ran) = batch(&machine, [ask("events-v2"), ask("events-v1")].concat().as_bytes());
    assert_eq!([&answers[0]["status"], &answers[1]["status"]], [202, 200]);
    assert_eq!(ran.code(), 0);
    let (answers, _) = batch(&machine, format!("{}\n", line(&key, "GET", "/incidents")).as_bytes());
    assert_eq!(answers[0]["reason"], "wrong-api", "rest is the default");
}

#[test]
fn it_goes_with_no_question_of_its_own_and_no_key_file() {
    let machine = Machine::with_store();
    for arguments in [["--method", "GET"], ["--path", "/"], ["--key-file", "x"]] {
        let arguments = ["verify", "--batch"].into_iter().chain(arguments);
        run_with_input(&machine, arguments, b"").must_exit(2);
    }
}

#[test]
fn without_a_store_it_fails() {
    let machine = Machine::new();
    let (answers, ran) = batch(&machine, format!("{}\n", line(UNKNOWN, "GET", "/")).as_bytes());
    assert!(answers.is_empty());
    assert_eq!(ran.code(), 1, "{ran}");
}

#[test]
fn as_a_coprocess_it_answers_each_line_before_the_next_is_written() {
    let machine = Machine::with_store();
    let (_, key) = machine.make_key("ci", &[]);
    let mut batch = Coprocess::start(&machine);
    for number in 0..20 {
        let mut question = line(&key, "GET", "/incidents");
        question["number"] = json!(number);
        let answer = batch.ask(&question);
        assert_eq!((&answer["allowed"], &answer["request"]["number"]), (&json!(true), &json!(number)));
    }
    assert_eq!(batch.ask(&json!("nonsense"))["line"], 21);
    batch.end(&machine).must_exit(1);
}

/// Every change that takes something away is seen by the very next check of a batch that runs already.
#[test]
fn what_another_process_changes_is_seen_by_the_very_next_check() {
    let machine = Machine::with_users();
    let changes =
        |arguments: &[&str]| drop(machine.run(arguments.iter().copied().chain(["--yes"])).must_succeed());
    let (disabled, disabled_key) = machine.make_key("disabled", &[]);
    let (removed, removed_key) = machine.make_key("removed", &[]);
    let (rotated, rotated_key) = machine.make_key("rotated", &[]);
    let (overlapping, overlapping_key) = machine.make_key("overlapping", &[]);
    let (expiring, expiring_key) = machine.make_key("expiring", &["--expires", "90d"]);
    let (narrowed, narrowed_key) = machine.make_key("narrowed", &[]);
    let token = make_token(&machine, "uma", &[]);
    let rotated_token = make_token(&machine, "otto", &[]);
    let app_token = make_app_token(&machine, "bot", &["incidents.read", "incidents.write"]);
    let (integration, event_key) = make_integration(&machine, &[]);
    let mut batch = Coprocess::start(&machine);
    let event = json!({ "key": event_key, "api": "events-v2" });
    let on_incidents =
        |batch: &mut Coprocess, key: &str, method: &str| batch.reason(key, method, "/incidents");
    for key in [
        &disabled_key,
        &removed_key,
        &rotated_key,
        &overlapping_key,
        &expiring_key,
        &narrowed_key,
        &token,
        &app_token,
    ] {
        assert_eq!(on_incidents(&mut batch, key, "POST"), "allowed");
    }
    assert_eq!(on_incidents(&mut batch, &rotated_token, "GET"), "allowed");
    assert_eq!(batch.ask(&event)["reason"], "allowed");

    changes(&["disable", &disabled]);
    assert_eq!(on_incidents(&mut batch, &disabled_key, "POST"), "disabled");
    changes(&["enable", &disabled]);
    assert_eq!(on_incidents(&mut batch, &disabled_key, "POST"), "allowed");
    changes(&["remove", &removed]);
    assert_eq!(on_incidents(&mut batch, &removed_key, "POST"), "removed");
    changes(&["rotate", &rotated]);
    assert_eq!(on_incidents(&mut batch, &rotated_key, "POST"), "rotated");
    let new = machine.run(["rotate", &overlapping, "--overlap", "24h"]).must_succeed().line().to_owned();
    assert_eq!(on_incidents(&mut batch, &overlapping_key, "POST"), "allowed");
    assert_eq!(on_incidents(&mut batch, &new, "POST"), "allowed");
    changes(&["rotate", &overlapping, "--end-overlap"]);
    assert_eq!(on_incidents(&mut batch, &overlapping_key, "POST"), "rotated");
    assert_eq!(on_incidents(&mut batch, &new, "POST"), "allowed");
    changes(&["edit", &narrowed, "--read-only"]);
    assert_eq!(on_incidents(&mut batch, &narrowed_key, "POST"), "read-only");
    changes(&["edit", &expiring, "--expires", "1ms"]);
    assert_eq!(on_incidents(&mut batch, &expiring_key, "POST"), "expired");

    changes(&["user", "edit", "uma", "--role", "observer"]);
    assert_eq!(on_incidents(&mut batch, &token, "POST"), "role");
    assert_eq!(on_incidents(&mut batch, &token, "GET"), "allowed");
    changes(&["account", "set", "--advanced-permissions", "off"]);
    assert_eq!(on_incidents(&mut batch, &token, "GET"), "no-ability");
    assert_eq!(on_incidents(&mut batch, &disabled_key, "GET"), "allowed");
    changes(&["account", "set", "--rest-api", "off"]);
    assert_eq!(on_incidents(&mut batch, &disabled_key, "GET"), "no-ability");
    assert_eq!(on_incidents(&mut batch, &app_token, "GET"), "no-ability");
    changes(&["account", "set", "--rest-api", "on", "--advanced-permissions", "on"]);
    assert_eq!(on_incidents(&mut batch, &token, "GET"), "allowed");
    changes(&["token", "rotate", &token_id(&machine, "otto"), "--as", "otto"]);
    assert_eq!(on_incidents(&mut batch, &rotated_token, "GET"), "rotated");
    changes(&["user", "remove", "uma"]);
    assert_eq!(on_incidents(&mut batch, &token, "GET"), "user-left");

    changes(&["app", "edit", "bot", "--scope", "incidents.read"]);
    assert_eq!(on_incidents(&mut batch, &app_token, "POST"), "scope");
    assert_eq!(on_incidents(&mut batch, &app_token, "GET"), "allowed");
    changes(&["app", "edit", "bot", "--revoke-tokens"]);
    assert_eq!(on_incidents(&mut batch, &app_token, "GET"), "removed");

    changes(&["account", "set", "--policy", "convention"]);
    assert_eq!(batch.ask(&line(&narrowed_key, "GET", "/orders/7"))["needed"], json!(["orders.read"]));
    changes(&["integration", "remove", &integration]);
    assert_eq!(batch.ask(&event)["reason"], "removed");
    batch.end(&machine).must_exit(3);
}

#[test]
fn a_batch_leaves_what_it_counted_in_the_store() {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &[]);
    let input = format!("{}\n", line(&key, "GET", "/incidents")).repeat(50);
    let (_, ran) = batch(&machine, input.as_bytes());
    assert_eq!(ran.code(), 0);
    let shown = machine.run(["show", &id, "-o", "json"]).json();
    assert!(shown["last_used_at"].is_string(), "{shown}");
    // Its windows are its own: what checks once begins anew.
    assert_eq!(reason_for(&machine, &key), "allowed");
}

#[test]
fn a_dry_run_of_a_batch_counts_nothing() {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &["--rate-limit", "1/min"]);
    let input = format!("{}\n", line(&key, "GET", "/incidents")).repeat(3);
    let ran = run_with_input(&machine, ["verify", "--batch", "--dry-run"], input.as_bytes()).must_exit(0);
    assert_eq!(ran.stdout.matches("\"remaining\":0").count(), 3, "{ran}");
    assert_eq!(machine.run(["show", &id, "-o", "json"]).json()["last_used_at"], Value::Null);
}

#[test]
fn a_usage_file_that_is_lost_under_a_batch_is_made_anew() {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &[]);
    let usage = machine.directory().join("pdkeys.usage.db");
    let mut batch = Coprocess::start(&machine);
    assert_eq!(batch.reason(&key, "GET", "/incidents"), "allowed");
    let began = std::time::Instant::now();
    while !usage.with_extension("db-wal").exists() {
        assert!(began.elapsed().as_secs() < 10, "what was counted is written every second");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::fs::remove_file(&usage).unwrap();
    assert_eq!(reason_for(&machine, &key), "allowed");
    assert_eq!(batch.reason(&key, "GET", "/incidents"), "allowed");
    machine.run(["list"]).must_succeed();
    machine.run(["disable", &id, "--yes"]).must_succeed();
    assert_eq!(batch.reason(&key, "GET", "/incidents"), "disabled");
    batch.end(&machine).must_exit(3);
    assert!(machine.run(["show", &id]).must_succeed().stderr.is_empty());
}

/// Where the file were mapped into memory, reading behind its end would end the process.
#[test]
fn a_store_that_is_cut_short_under_a_batch_is_an_error_of_each_line() {
    for length in [0, 20_480] {
        let machine = Machine::with_store();
        let mut keys: Vec<_> =
            (0..60).map(|number| machine.make_key(&format!("key {number}"), &[]).1).collect();
        let last = keys.pop().unwrap();
        let mut batch = Coprocess::start(&machine);
        assert_eq!(batch.reason(&last, "GET", "/incidents"), "allowed");
        crate::displacements::run(&format!("truncate -s {length} $store"), &machine.store());
        let until = std::time::Instant::now() + std::time::Duration::from_millis(2_500);
        let mut errors = 0;
        while std::time::Instant::now() < until {
            for key in &keys {
                errors += u64::from(batch.ask(&line(key, "GET", "/incidents"))["error"].is_string());
            }
        }
        assert_ne!(errors, 0, "{length}");
        assert_eq!(batch.ask(&line(&last, "GET", "/incidents"))["allowed"], false, "{length}");
        batch.end(&machine).must_exit(1);
    }
}

/// The index of the log is mapped by SQLite. A batch that rests notices before it reads it again, and makes it anew.
#[test]
fn an_index_that_is_cut_short_under_a_batch_that_rests_does_not_end_it() {
    let machine = Machine::with_store();
    let (id, key) = machine.make_key("ci", &[]);
    let mut batch = Coprocess::start(&machine);
    assert_eq!(batch.reason(&key, "GET", "/incidents"), "allowed");
    crate::displacements::run("truncate -s 0 $store-shm", &machine.store());
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert_eq!(batch.reason(&key, "GET", "/incidents"), "allowed");
    machine.run(["disable", &id, "--yes"]).must_succeed();
    assert_eq!(batch.reason(&key, "GET", "/incidents"), "disabled");
    batch.end(&machine).must_exit(3);
}

#[test]
fn files_that_others_do_not_find_are_an_error_of_each_line() {
    crate::displacements::each(|way| {
        let machine = Machine::with_store();
        let (id, key) = machine.make_key("ci", &[]);
        let mut batch = Coprocess::start(&machine);
        let mut ask = || batch.ask(&line(&key, "GET", "/incidents"));
        assert_eq!(ask()["allowed"], true);
        way.happen(&machine.store());
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let told = ask()["error"].as_str().unwrap_or_default().to_owned();
        assert!(way.can_be_opened || told.contains(way.told), "{}: {told}", way.what);
        if way.can_be_opened {
            machine.run(["disable", &id, "--yes"]).must_succeed();
        }
        let until = std::time::Instant::now() + std::time::Duration::from_secs(3);
        while std::time::Instant::now() < until {
            assert_eq!(ask()["allowed"], false, "{}", way.what);
        }
        assert_eq!(ask()["reason"] == "disabled", way.can_be_opened, "{}", way.what);
        let _ = batch.end(&machine);
    });
}
