//! Whatever is presented is read without a panic, alike in every form, and never shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pdkeys::model::{CredentialKind, Secret, secrets_within};
use pdkeys::verify::{BearerTakes, Presented};

fuzz_target!(|input: &[u8]| {
    // Blanks behind a scheme are as many as one likes, and quotes behind `token=` are none of the key.
    if !input.starts_with(b" ") && !input.starts_with(b"\"") {
        read_alike(input);
    }
    for presented in [Presented::parse(input), Presented::authorization(input, BearerTakes::AnyKey)] {
        if let Presented::Secret { secret, .. } = &presented {
            assert!(!format!("{presented:?}").contains(&text_of(secret)));
        }
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let secrets = secrets_within(text);
        let redacted = secrets.iter().fold(text.to_owned(), |text, secret| secret.redact(&text));
        for secret in &secrets {
            assert!(!redacted.contains(&text_of(secret)), "{redacted:?}");
        }
    }
});

/// Reads a key alone and behind each scheme.
fn read_alike(input: &[u8]) {
    let bare = Presented::bare(input).kind();
    let read = |before: &str, after: &str, bearer| {
        Presented::authorization(&[before.as_bytes(), input, after.as_bytes()].concat(), bearer).kind()
    };
    let token = read("Token token=", "", BearerTakes::AppTokens);
    let quoted = read("Token token=\"", "\"", BearerTakes::AppTokens);
    let alone = read("Token  ", "", BearerTakes::AppTokens);
    let bearer = read("Bearer ", "", BearerTakes::AppTokens);
    let any = read("bearer ", "", BearerTakes::AnyKey);
    match bare {
        Some(CredentialKind::AppToken) => {
            assert_eq!((token, quoted, alone, bearer, any), (None, None, None, bare, bare));
        }
        Some(_) => assert_eq!((token, quoted, alone, bearer, any), (bare, bare, bare, None, bare)),
        // A line end behind it is cut off with a scheme before it alone.
        None if input.ends_with(b"\n") => {}
        None => {
            assert_eq!((token, quoted, bearer, any), (None, None, None, None));
            assert!(alone.is_none() || input.starts_with(b"token="));
        }
    }
}

fn text_of(secret: &Secret) -> String {
    let mut bytes = Vec::new();
    assert!(secret.write_to(&mut bytes).is_ok());
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}
