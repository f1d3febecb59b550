//! What a gateway asks about: the original request, from one complete family of headers or from Envoy's path.
//!
//! A gateway that sets one family of headers passes on what the client sent under the names of the other. So the
//! request must come out of one family alone, each of its headers given once; whatever could be read in two ways is
//! denied. Headers by which a client asks the API for another method than the one that is checked deny too.

use clap::ValueEnum;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use pdkeys::verify::ROUTING_KEY_HEADER;

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

/// The path below which Envoy asks, and at which all others do.
const AUTH: &str = "/auth";

/// Where a gateway asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskedAt<'p> {
    /// At the path itself, with the original request in headers.
    Exactly,
    /// Below it, with the original request target behind it.
    Below(&'p str),
}

/// Whether a path is one that gateways ask at.
pub(super) fn asked_at<'p>(path: &str, path_and_query: &'p str) -> Option<AskedAt<'p>> {
    match path.strip_prefix(AUTH)? {
        "" => Some(AskedAt::Exactly),
        rest if rest.starts_with('/') => path_and_query.get(AUTH.len()..).map(AskedAt::Below),
        _ => None,
    }
}

/// The request could be read in more than one way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// A request that a gateway asks about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Original<'r> {
    /// Its method, as it was sent.
    pub(super) method: &'r str,
    /// Its path and query, as they were sent.
    pub(super) target: &'r [u8],
    /// The value of the header that has its credential.
    pub(super) credential: Option<&'r [u8]>,
    /// The key of an event, from its header.
    pub(super) routing_key: Option<&'r [u8]>,
}

/// Whether a header is read for something else than a bare key.
pub(crate) fn is_read_otherwise(name: &HeaderName) -> bool {
    let others = [
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "proxy-authorization",
        "te",
        "transfer-encoding",
        "upgrade",
        ROUTING_KEY_HEADER,
    ];
    others.contains(&name.as_str())
        || name.as_str().starts_with("x-pdkeys-")
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str().starts_with("x-original-")
        || is_method_override(name.as_str())
}

fn is_method_override(name: &str) -> bool {
    matches!(name, "x-http-method-override" | "x-http-method" | "x-method-override")
}

/// A header that may be given once.
#[derive(Default)]
struct Once<'r>(Option<&'r HeaderValue>);

impl<'r> Once<'r> {
    fn set(&mut self, value: &'r HeaderValue) -> Result<(), Ambiguous> {
        match self.0.replace(value) {
            None => Ok(()),
            Some(_) => Err(Ambiguous),
        }
    }

    fn bytes(&self) -> Option<&'r [u8]> {
        self.0.map(HeaderValue::as_bytes)
    }
}

/// Reads the original request: from headers, or, behind Envoy, from the asking request itself, whose method and
/// target are given then.
pub(super) fn original<'r>(
    pinned: Option<Gateway>,
    key_header: &HeaderName,
    asked: Option<(&'r str, &'r str)>,
    headers: &'r HeaderMap,
) -> Result<Original<'r>, Ambiguous> {
    let [mut nginx_method, mut nginx_target] = [const { Once(None) }; 2];
    let [mut forwarded_method, mut forwarded_target] = [const { Once(None) }; 2];
    let [mut credential, mut routing_key] = [const { Once(None) }; 2];
    for (name, value) in headers {
        match name.as_str() {
            "x-original-method" => nginx_method.set(value)?,
            "x-original-uri" => nginx_target.set(value)?,
            "x-forwarded-method" => forwarded_method.set(value)?,
            "x-forwarded-uri" => forwarded_target.set(value)?,
            ROUTING_KEY_HEADER => routing_key.set(value)?,
            other if is_method_override(other) => return Err(Ambiguous),
            _ if name == key_header => credential.set(value)?,
            _ => {}
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
        _ => return Err(Ambiguous),
    };
    if pinned.is_some_and(|pinned| pinned != gateway) {
        return Err(Ambiguous);
    }
    Ok(Original {
        method: std::str::from_utf8(method).map_err(|_| Ambiguous)?,
        target,
        credential: credential.bytes(),
        routing_key: routing_key.bytes(),
    })
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
        let original = original(pinned, &AUTHORIZATION, asked, &headers).ok()?;
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

    #[test]
    fn headers_that_override_the_method_are_ambiguous() {
        for name in ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"] {
            assert_eq!(read(None, None, &[&NGINX, &[(name, "GET")]]), None, "{name}");
        }
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
        assert_eq!(asked_at("/auth", "/auth?x"), Some(AskedAt::Exactly));
        assert_eq!(asked_at("/auth/", "/auth/"), Some(AskedAt::Below("/")));
        assert_eq!(asked_at("/auth//teams", "/auth//teams?x=1"), Some(AskedAt::Below("//teams?x=1")));
        assert_eq!(asked_at("/authentic", "/authentic"), None);
        assert_eq!(asked_at("/", "/"), None);
    }
}
