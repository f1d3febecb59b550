//! `POST /verify`: what programs ask.

use serde_json::{Value, json};

use crate::world::World;

#[test]
fn an_answered_question_is_a_200_whatever_the_answer() {
    let world = World::new();
    let (id, key) = world.make(&["create", "reader", "--read-only"]);
    let server = world.serve(&[]);
    let ask = |question: Value| server.ask("POST", "/verify", &[], &question.to_string());
    let yes = ask(json!({ "key": key, "method": "GET", "path": "/incidents", "trace": 7 }));
    assert_eq!(yes.status, 200);
    let verdict = yes.json();
    assert_eq!(verdict["allowed"], true);
    assert_eq!(verdict["credential"]["id"], id.as_str());
    assert_eq!(verdict["operation"], "listIncidents");
    assert_eq!(verdict["request"], json!({ "trace": 7 }));
    let no = ask(json!({ "key": key, "method": "POST", "path": "/incidents" }));
    assert_eq!((no.status, no.json()["reason"].as_str()), (200, Some("read-only")));
    assert_eq!(no.json()["status"], 403);
    let event = ask(json!({ "key": "0".repeat(32), "api": "events-v2" }));
    assert_eq!((event.status, event.json()["reason"].as_str()), (200, Some("unknown")));
}

#[test]
fn what_is_no_question_is_a_400_that_does_not_repeat_it() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&[]);
    for question in [
        String::new(),
        "not json".to_owned(),
        "7".to_owned(),
        format!(r#"{{"key": "{key}"}}"#),
        format!(r#"{{"key": "{key}", "method": "GET"}}"#),
        r#"{"method": "GET", "path": "/"}"#.to_owned(),
        format!(r#"{{"key": "{key}", "key": "{key}", "method": "GET", "path": "/"}}"#),
        format!(r#"{{"key": "{key}", "method": "GET", "path": "/", "api": "{key}"}}"#),
        format!(r#"{{"key": "{key}", "method": 7, "path": "/"}}"#),
        format!(r#"[{{"key": "{key}"}}"#),
    ] {
        let reply = server.ask("POST", "/verify", &[], &question);
        assert_eq!(reply.status, 400, "{question}");
        assert_eq!(reply.json()["allowed"], false);
        assert_eq!(reply.json()["reason"], Value::Null);
        assert!(!reply.body.contains(&key), "{}", reply.body);
    }
}

#[test]
fn errors_of_many_that_are_no_questions_do_not_grow_the_answer() {
    let world = World::new();
    let server = world.serve(&[]);
    let of_type = [("Content-Type", "application/jsonl")];
    for (body, headers) in
        [(format!("[{}0]", "0,".repeat(200_000)), &[][..]), ("\n".repeat(200_000), &of_type[..])]
    {
        let reply = server.ask("POST", "/verify", headers, &body);
        assert_eq!(reply.status, 400, "{headers:?}");
        assert!(reply.body.len() < 200, "{} bytes", reply.body.len());
        assert_eq!(reply.json()["allowed"], false);
    }
    let few = server.ask("POST", "/verify", &[], "[0,0,0]").json();
    assert_eq!(few.as_array().map(Vec::len), Some(3), "each is told what is wrong with it: {few}");
}

#[test]
fn several_questions_are_answered_as_they_were_asked() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&[]);
    let good = json!({ "key": key, "method": "GET", "path": "/teams" }).to_string();
    let array = server.ask("POST", "/verify", &[], &format!(" [{good}, 7, {good}]"));
    assert_eq!(array.status, 200);
    let answers = array.json();
    assert_eq!(answers.as_array().unwrap().len(), 3);
    assert_eq!((&answers[0]["allowed"], &answers[2]["allowed"]), (&json!(true), &json!(true)));
    assert_eq!((&answers[1]["allowed"], &answers[1]["line"]), (&json!(false), &json!(2)));
    let kind = [("Content-Type", "application/jsonl; charset=utf-8")];
    let lines = server.ask("POST", "/verify", &kind, &format!("{good}\nnot json\n{good}\n"));
    assert_eq!((lines.status, lines.header("content-type")), (200, Some("application/jsonl")));
    let answers: Vec<Value> = lines.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 3);
    assert_eq!((&answers[1]["error"], &answers[1]["line"]), (&json!("not JSON (column 2)"), &json!(2)));
    assert_eq!(answers[2]["allowed"], true);
    assert_eq!(server.ask("POST", "/verify", &[], "[]").body, "[]");
}

#[test]
fn a_question_is_posted() {
    let world = World::new();
    let server = world.serve(&[]);
    let reply = server.get("/verify");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
}

#[test]
fn a_content_type_that_is_given_twice_is_refused() {
    let world = World::new();
    let (_, key) = world.key();
    let server = world.serve(&[]);
    let question = format!(r#"{{"key": "{key}", "method": "GET", "path": "/incidents"}}"#);
    let (json, lines) = (("Content-Type", "application/json"), ("Content-Type", "application/jsonl"));
    let status = |headers: &[(&str, &str)]| server.ask("POST", "/verify", headers, &question).status;
    assert_eq!((status(&[json]), status(&[lines]), status(&[])), (200, 200, 200));
    assert_eq!((status(&[json, lines]), status(&[lines, json]), status(&[json, json])), (400, 400, 400));
    assert_eq!(status(&[("Content-Type", "application/jsonl, application/json")]), 400);
}
