//! Reads the original request that a gateway asks about, from one complete family of headers or from Envoy's path.
//!
//! A gateway that sets one family of headers passes on what the client sent under the names of the other. So the
//! request must be given by one family only, with each of its headers once; anything ambiguous is denied. Headers that ask
//! the API for another method or path than the one that is checked are denied too.
//!
//! Programs that turn headers into variables (CGI, WSGI, PHP) do not distinguish the characters of a name that are
//! neither letters nor digits, so that `X~Pdkeys~Role` is `X-Pdkeys-Role` to them. Names are compared as such a program
//! would read them, and another spelling of a name that matters here is denied.
//!
//! An upgraded connection is no longer checked. WebSocket is the one protocol that applications upgrade to; any other is
//! denied.

use std::borrow::Cow;

use clap::ValueEnum;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};
use pdkeys::verify::{Api, ROUTING_KEY_HEADER, Verdict};

/// A kind of gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Gateway {
    /// `X-Original-Method` and `X-Original-URI`. What nginx cannot pass on comes in headers as well.
    Nginx,
    /// `X-Forwarded-Method` and `X-Forwarded-Uri`, as Caddy and Traefik send them
    Forwarded,
    /// Method and path are the request's own, behind `/auth`
    Envoy,
}

/// The path at which gateways ask. Envoy appends the path of the original request.
const AUTH: &str = "/auth";

/// How the path of a gateway's request continues after `/auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthPath<'p> {
    /// It ends there: the original request is in headers.
    Exactly,
    /// With the target of the original request.
    Below(&'p str),
}

/// Recognises a path at which gateways ask.
pub(super) fn auth_path<'p>(path: &str, path_and_query: &'p str) -> Option<AuthPath<'p>> {
    match path.strip_prefix(AUTH)? {
        "" => Some(AuthPath::Exactly),
        rest if rest.starts_with('/') => path_and_query.get(AUTH.len()..).map(AuthPath::Below),
        _ => None,
    }
}

/// Why a request is denied without looking at its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It could be read in more than one way.
    Ambiguous,
    /// It asks for a protocol other than HTTP/1.1 and WebSocket.
    Upgrade,
}

impl Refused {
    /// Returns the verdict for it.
    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self::Ambiguous => Verdict::ambiguous_request(Api::Rest),
            Self::Upgrade => Verdict::upgrade(Api::Rest),
        }
    }
}

/// A request that a gateway asks about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Original<'r> {
    /// Its method, as it was sent.
    pub(super) method: &'r str,
    /// Its path and query, as they were sent.
    pub(super) target: &'r [u8],
    /// The value of the header that holds its credential.
    pub(super) credential: Option<&'r [u8]>,
    /// The key of an event, from its header.
    pub(super) routing_key: Option<&'r [u8]>,
}

/// The headers that have a meaning for HTTP, gateways or the check, in addition to those with a prefix in
/// [`is_reserved`].
const READ: [&str; 15] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    ROUTING_KEY_HEADER,
];

/// Returns whether a header has another meaning than a bare key.
pub(crate) fn is_read_otherwise(name: &HeaderName) -> bool {
    is_reserved(&read_by_others(name.as_str()))
}

/// Returns whether a name must not appear in another spelling. `name` is as other programs read it.
fn is_reserved(name: &str) -> bool {
    READ.contains(&name)
        || name.starts_with(FROM_PDKEYS)
        || name.starts_with("x-forwarded-")
        || name.starts_with("x-original-")
        || asks_for_another(name)
}

/// The prefix of headers in which pdkeys tells the API about a request. Clients may not send them.
const FROM_PDKEYS: &str = "x-pdkeys";

/// Returns whether a header asks the API to handle the request as one with another method or path.
fn asks_for_another(name: &str) -> bool {
    matches!(
        name,
        "x-http-method-override"
            | "x-http-method"
            | "x-method-override"
            | "x-original-url"
            | "x-rewrite-url"
            | "x-override-url"
            // gunicorn takes the path after its `SCRIPT_NAME` for the whole, as programs do with the others.
            | "script-name"
            | "path-info"
            | "x-script-name"
            | "x-forwarded-script-name"
    )
}

/// Returns the name of a header as programs read it that turn headers into variables: each character that is neither a
/// letter nor a digit becomes `-`.
fn read_by_others(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.bytes().all(is_plain) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect())
}

/// The value of a header that may be given only once.
#[derive(Default)]
struct Once<'r>(Option<&'r HeaderValue>);

impl<'r> Once<'r> {
    fn set(&mut self, value: &'r HeaderValue) -> Result<(), Refused> {
        match self.0.replace(value) {
            None => Ok(()),
            Some(_) => Err(Refused::Ambiguous),
        }
    }

    fn bytes(&self) -> Option<&'r [u8]> {
        self.0.map(HeaderValue::as_bytes)
    }
}

/// The protocols that the upgrade headers ask for.
#[derive(Default)]
struct Upgrade {
    /// WebSocket, once.
    websocket: bool,
    /// Another protocol, or one twice.
    other: bool,
}

impl Upgrade {
    fn set(&mut self, value: &HeaderValue) {
        let is_websocket = value.as_bytes().eq_ignore_ascii_case(b"websocket");
        self.other |= !is_websocket || self.websocket;
        self.websocket |= is_websocket;
    }

    /// Returns whether a request with a method may ask for this. A WebSocket begins with GET.
    fn is_fine(&self, method: &str) -> bool {
        !self.other && (!self.websocket || method == Method::GET.as_str())
    }
}

/// The header that holds the credential, and its name as other programs read it.
#[derive(Clone, Debug)]
pub(super) struct KeyHeader {
    name: HeaderName,
    read_by_others: Box<str>,
}

impl KeyHeader {
    pub(super) fn new(name: HeaderName) -> Self {
        let read_by_others = read_by_others(name.as_str()).into();
        Self { name, read_by_others }
    }
}

/// Reads the original request from headers or, behind Envoy, from the method and target of the gateway's own request.
pub(super) fn original<'r>(
    pinned: Option<Gateway>,
    key_header: &KeyHeader,
    asked: Option<(&'r str, &'r str)>,
    headers: &'r HeaderMap,
) -> Result<Original<'r>, Refused> {
    let [mut nginx_method, mut nginx_target] = [const { Once(None) }; 2];
    let [mut forwarded_method, mut forwarded_target] = [const { Once(None) }; 2];
    let [mut credential, mut routing_key] = [const { Once(None) }; 2];
    let mut upgrade = Upgrade::default();
    for (name, value) in headers {
        if *name == key_header.name {
            credential.set(value)?;
            continue;
        }
        match name.as_str() {
            "x-original-method" => nginx_method.set(value)?,
            "x-original-uri" => nginx_target.set(value)?,
            "x-forwarded-method" => forwarded_method.set(value)?,
            "x-forwarded-uri" => forwarded_target.set(value)?,
            "upgrade" => upgrade.set(value),
            "http2-settings" => upgrade.other = true,
            ROUTING_KEY_HEADER => routing_key.set(value)?,
            name => {
                let read = read_by_others(name);
                let is_alias = matches!(read, Cow::Owned(_)) && is_reserved(&read);
                if is_alias
                    || *read == *key_header.read_by_others
                    || read.starts_with(FROM_PDKEYS)
                    || asks_for_another(&read)
                {
                    return Err(Refused::Ambiguous);
                }
            }
        }
    }
    let families =
        [(nginx_method.bytes(), nginx_target.bytes()), (forwarded_method.bytes(), forwarded_target.bytes())];
    let (gateway, method, target) = match (asked, families) {
        (Some((method, target)), [(None, None), (None, None)]) => {
            (Gateway::Envoy, method.as_bytes(), target.as_bytes())
        }
        (None, [(Some(method), Some(target)), (None, None)]) => (Gateway::Nginx, method, target),
        (None, [(None, None), (Some(method), Some(target))]) => (Gateway::Forwarded, method, target),
        _ => return Err(Refused::Ambiguous),
    };
    if pinned.is_some_and(|pinned| pinned != gateway) {
        return Err(Refused::Ambiguous);
    }
    let method = std::str::from_utf8(method).map_err(|_| Refused::Ambiguous)?;
    if !upgrade.is_fine(method) {
        return Err(Refused::Upgrade);
    }
    Ok(Original { method, target, credential: credential.bytes(), routing_key: routing_key.bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::AUTHORIZATION;

    const NGINX: [(&str, &str); 2] = [("X-Original-Method", "GET"), ("X-Original-URI", "/incidents?x=1")];
    const FORWARDED: [(&str, &str); 2] = [("X-Forwarded-Method", "PUT"), ("X-Forwarded-Uri", "/incidents")];

    fn headers(lines: &[&[(&str, &str)]]) -> HeaderMap {
        lines
            .iter()
            .flat_map(|lines| lines.iter())
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect()
    }

    fn read(
        pinned: Option<Gateway>,
        asked: Option<(&str, &str)>,
        lines: &[&[(&str, &str)]],
    ) -> Option<(String, Vec<u8>)> {
        let headers = headers(lines);
        let original = original(pinned, &KeyHeader::new(AUTHORIZATION), asked, &headers).ok()?;
        Some((original.method.to_owned(), original.target.to_vec()))
    }

    #[test]
    fn one_complete_family_is_the_original_request() {
        assert_eq!(read(None, None, &[&NGINX]), Some(("GET".to_owned(), b"/incidents?x=1".to_vec())));
        assert_eq!(read(None, None, &[&FORWARDED]), Some(("PUT".to_owned(), b"/incidents".to_vec())));
        assert_eq!(read(None, Some(("POST", "/teams")), &[]), Some(("POST".to_owned(), b"/teams".to_vec())));
    }

    #[test]
    fn none_or_half_or_both_families_are_ambiguous() {
        let cases: &[&[&[(&str, &str)]]] = &[
            &[],
            &[&NGINX[..1]],
            &[&NGINX[1..]],
            &[&FORWARDED[..1]],
            &[&FORWARDED[1..]],
            &[&NGINX, &FORWARDED],
            &[&NGINX, &FORWARDED[..1]],
            &[&NGINX[..1], &FORWARDED[1..]],
            &[&NGINX, &[("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/incidents?x=1")]],
        ];
        for lines in cases {
            assert_eq!(read(None, None, lines), None, "{lines:?}");
        }
        for lines in [&NGINX, &FORWARDED] {
            assert_eq!(read(None, Some(("GET", "/teams")), &[lines]), None, "behind Envoy's path");
            assert_eq!(read(None, Some(("GET", "/teams")), &[&lines[..1]]), None);
        }
    }

    #[test]
    fn a_repeated_header_is_ambiguous_even_if_equal() {
        for line in [NGINX[0], NGINX[1], ("Authorization", "a"), ("X-Routing-Key", "a")] {
            assert_eq!(read(None, None, &[&NGINX, &[line], &[line]]), None, "{line:?}");
        }
        assert!(read(None, None, &[&NGINX, &[("Accept", "a"), ("Accept", "a")]]).is_some());
    }

    fn refused(key_header: &str, lines: &[&[(&str, &str)]]) -> Option<Refused> {
        let key_header = KeyHeader::new(key_header.parse().unwrap());
        original(None, &key_header, None, &headers(lines)).err()
    }

    /// Every character that a header's name may have beside letters and digits.
    const BETWEEN: &str = "!#$%&'*+-.^_`|~";

    #[test]
    fn headers_that_ask_for_another_method_or_path_are_ambiguous_in_every_spelling() {
        for name in [
            "X-HTTP-Method-Override",
            "x-http-method",
            "X-Method-Override",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-Override-URL",
            "Script-Name",
            "Path-Info",
            "X-Script-Name",
            "X-Forwarded-Script-Name",
            "X-Pdkeys-Role",
            "X-Pdkeys-Whatever",
        ] {
            for between in BETWEEN.chars() {
                for spelling in
                    [name.replace('-', &between.to_string()), name.replacen('-', &between.to_string(), 1)]
                {
                    let line = [(spelling.as_str(), "GET")];
                    assert_eq!(
                        refused("authorization", &[&NGINX, &line]),
                        Some(Refused::Ambiguous),
                        "{spelling}"
                    );
                }
            }
        }
    }

    #[test]
    fn another_spelling_of_a_name_that_means_something_is_ambiguous() {
        for name in [
            "X-Original-Method",
            "X-Original-URI",
            "X-Forwarded-Method",
            "X-Forwarded-Uri",
            "X-Forwarded-For",
            "X-Routing-Key",
            "Transfer-Encoding",
            "Content-Length",
        ] {
            for between in BETWEEN.chars().filter(|between| *between != '-') {
                let spelling = name.replace('-', &between.to_string());
                let line = [(spelling.as_str(), "GET")];
                assert_eq!(
                    refused("authorization", &[&NGINX, &line]),
                    Some(Refused::Ambiguous),
                    "{spelling}"
                );
            }
        }
        for name in
            ["X-Forwarded-For", "Content-Length", "X_Trace_Id", "_ga", "X-Originals", "X~Http~Methods"]
        {
            assert_eq!(refused("authorization", &[&NGINX, &[(name, "0")]]), None, "{name}");
        }
    }

    #[test]
    fn the_header_of_the_key_has_one_spelling_too() {
        for (key_header, others) in
            [("x-api-key", ["X_Api_Key", "X-Api.Key"]), ("api_key", ["Api-Key", "api~key"])]
        {
            assert_eq!(refused(key_header, &[&NGINX, &[(key_header, "a")]]), None);
            for other in others {
                let line = [(key_header, "a"), (other, "b")];
                assert_eq!(refused(key_header, &[&NGINX, &line]), Some(Refused::Ambiguous), "{other}");
            }
        }
    }

    #[test]
    fn every_upgrade_but_a_lone_websocket_is_refused() {
        let upgrades: &[&[(&str, &str)]] = &[
            &[("Upgrade", "h2c")],
            &[("upgrade", "H2C")],
            &[("Upgrade", "TLS/1.0")],
            &[("Upgrade", "foo")],
            &[("Upgrade", "")],
            &[("Upgrade", "websocket/13")],
            &[("Upgrade", "websocket, h2c")],
            &[("Upgrade", "h2c, websocket")],
            &[("Upgrade", "websocket"), ("Upgrade", "h2c")],
            &[("Upgrade", "h2c"), ("Upgrade", "websocket")],
            &[("Upgrade", "websocket"), ("Upgrade", "websocket")],
            &[("Upgrade", "websocket"), ("HTTP2-Settings", "AAMAAABk")],
            &[("HTTP2-Settings", "AAMAAABk")],
        ];
        for upgrade in upgrades {
            assert_eq!(refused("authorization", &[&NGINX, upgrade]), Some(Refused::Upgrade), "{upgrade:?}");
        }
        for value in ["websocket", "WebSocket"] {
            let upgrade = [("Upgrade", value), ("Connection", "Upgrade")];
            assert_eq!(refused("authorization", &[&NGINX, &upgrade]), None);
            assert_eq!(refused("authorization", &[&FORWARDED, &upgrade]), Some(Refused::Upgrade), "a PUT");
        }
        assert_eq!(refused("authorization", &[&NGINX, &[("Connection", "Upgrade")]]), None, "to nothing");
        assert_eq!(
            refused("authorization", &[&[("Upgrade", "h2c")]]),
            Some(Refused::Ambiguous),
            "comes first"
        );
    }

    #[test]
    fn a_pinned_gateway_takes_no_other_form() {
        type Form<'f> = (Gateway, Option<(&'f str, &'f str)>, &'f [(&'f str, &'f str)]);
        let forms: [Form<'_>; 3] = [
            (Gateway::Nginx, None, &NGINX),
            (Gateway::Forwarded, None, &FORWARDED),
            (Gateway::Envoy, Some(("GET", "/teams")), &[]),
        ];
        for (pinned, ..) in forms {
            for (gateway, asked, lines) in forms {
                assert_eq!(read(Some(pinned), asked, &[lines]).is_some(), pinned == gateway);
            }
        }
    }

    #[test]
    fn gateways_ask_at_auth_exactly_or_below_it() {
        assert_eq!(auth_path("/auth", "/auth?x"), Some(AuthPath::Exactly));
        assert_eq!(auth_path("/auth/", "/auth/"), Some(AuthPath::Below("/")));
        assert_eq!(auth_path("/auth//teams", "/auth//teams?x=1"), Some(AuthPath::Below("//teams?x=1")));
        assert_eq!(auth_path("/authentic", "/authentic"), None);
        assert_eq!(auth_path("/", "/"), None);
    }
}
