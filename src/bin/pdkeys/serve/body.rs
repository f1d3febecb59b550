//! Reading the body of a request: so much of it, no longer than so, and what it is said to be.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::response::{self, Answer};

/// The bounds of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLarge,
    TooSlow,
    BrokenOff,
}

impl Fault {
    /// The answer to it.
    pub(super) fn answer(self) -> Answer {
        match self {
            Self::TooLarge => response::error(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"),
            Self::TooSlow => response::error(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::BrokenOff => response::error(StatusCode::BAD_REQUEST, "Bad Request"),
        }
    }
}

/// A request says of its body more than one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SaidTwice;

/// Returns the media type that a request says its body has.
///
/// # Errors
/// If it says so more than once, in two lines or in one.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<&[u8]>, SaidTwice> {
    let mut given = headers.get_all(CONTENT_TYPE).into_iter().map(HeaderValue::as_bytes);
    match (given.next(), given.next()) {
        (_, Some(_)) => Err(SaidTwice),
        (Some(value), None) if value.contains(&b',') => Err(SaidTwice),
        (value, None) => Ok(value),
    }
}

/// Returns a media type without its parameters.
pub(super) fn essence(content_type: Option<&[u8]>) -> &[u8] {
    content_type.and_then(|value| value.split(|byte| *byte == b';').next()).unwrap_or_default().trim_ascii()
}

/// Returns whether a body is said to be something else once it is decoded.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .into_iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Reads a body. It may hold secrets, and is wiped when it goes.
///
/// # Errors
/// If it is too large, comes too slowly, or breaks off.
pub(super) async fn read(body: Incoming, bounds: Bounds) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bounds.bytes {
        return Err(Fault::TooLarge);
    }
    let reading = async {
        let mut body = body;
        // As long as it says to be: one that grew would leave copies of what it held behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(announced));
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Fault::BrokenOff)?.into_data() else { continue };
            if bytes.len() + data.len() > bounds.bytes {
                return Err(Fault::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    };
    tokio::time::timeout(bounds.time, reading).await.unwrap_or(Err(Fault::TooSlow))
}
