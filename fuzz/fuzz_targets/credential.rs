//! Whatever is presented is read without a panic, alike in every form, and never shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pdkeys::model::{CredentialKind, Secret, secrets_within};
use pdkeys::verify::{BearerTakes, Presented};

fuzz_target!(|input: &[u8]| {
    let bare = Presented::bare(input).kind();
    let behind = |scheme: &[u8]| [scheme, input].concat();
    let token = Presented::authorization(&behind(b"Token token="), BearerTakes::AppTokens).kind();
    let bearer = Presented::authorization(&behind(b"Bearer "), BearerTakes::AppTokens).kind();
    let any = Presented::authorization(&behind(b"bearer "), BearerTakes::AnyKey).kind();
    match bare {
        Some(CredentialKind::AppToken) => assert_eq!((token, bearer, any), (None, bare, bare)),
        Some(_) => assert_eq!((token, bearer, any), (bare, None, bare)),
        // A line end behind it is cut off with a scheme before it alone.
        None if input.ends_with(b"\n") => {}
        None => assert_eq!((token, bearer, any), (None, None, None)),
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

fn text_of(secret: &Secret) -> String {
    let mut bytes = Vec::new();
    assert!(secret.write_to(&mut bytes).is_ok());
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}
