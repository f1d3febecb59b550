//! Findings as SARIF 2.1.0, which code-scanning pages read.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::commands::scan::FoundRecord;

/// The log of one run.
pub(crate) fn log<'r>(found: impl IntoIterator<Item = &'r FoundRecord>) -> Value {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "pdkeys",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": [
                    rule("live-credential", "A credential that works", "error"),
                    rule("dead-credential", "A credential that does not work any more", "note"),
                ],
            } },
            "results": found.into_iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn rule(id: &str, text: &str, level: &str) -> Value {
    json!({
        "id": id,
        "shortDescription": { "text": text },
        "defaultConfiguration": { "level": level },
    })
}

fn result(found: &FoundRecord) -> Value {
    let (rule, level) =
        if found.is_live() { ("live-credential", "error") } else { ("dead-credential", "note") };
    let mut place = json!({ "artifactLocation": { "uri": uri(found.file.as_bytes()) } });
    // What is in a name is in no line.
    if found.line > 0 {
        place["region"] = json!({ "startLine": found.line });
    }
    json!({
        "ruleId": rule,
        "level": level,
        "message": { "text": found.message() },
        "locations": [{ "physicalLocation": place }],
        // The same finding in the next run, wherever its line has moved to.
        "partialFingerprints": { "credential/v1": format!("{}:{}", found.id, found.file) },
    })
}

/// A path as a relative reference of a URI.
fn uri(path: &[u8]) -> String {
    let mut uri = String::with_capacity(path.len());
    for &byte in path.strip_prefix(b"./").unwrap_or(path) {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
