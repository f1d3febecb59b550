//! Writes findings as SARIF 2.1.0, which code-scanning pages read.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// A credential that was found in a file.
pub(crate) struct Finding<'f> {
    pub(crate) is_live: bool,
    /// What was found, in a sentence.
    pub(crate) message: String,
    pub(crate) path: &'f [u8],
    /// The number of the line, or 0 for the name of the file.
    pub(crate) line: u64,
    /// What the finding has in common with the same one in another run.
    pub(crate) fingerprint: String,
}

/// Returns the log of one run.
pub(crate) fn log<'f>(found: impl IntoIterator<Item = Finding<'f>>) -> Value {
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
            "results": found.into_iter().map(|finding| result(&finding)).collect::<Vec<_>>(),
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

fn result(found: &Finding<'_>) -> Value {
    let (rule, level) =
        if found.is_live { ("live-credential", "error") } else { ("dead-credential", "note") };
    let mut location = json!({ "artifactLocation": { "uri": uri(found.path) } });
    // A credential in the name of the file is on no line.
    if found.line > 0 {
        location["region"] = json!({ "startLine": found.line });
    }
    json!({
        "ruleId": rule,
        "level": level,
        "message": { "text": found.message },
        "locations": [{ "physicalLocation": location }],
        // Identifies the same finding in the next run, even if its line has moved.
        "partialFingerprints": { "credential/v1": found.fingerprint },
    })
}

/// Returns a path as a relative URI reference.
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
