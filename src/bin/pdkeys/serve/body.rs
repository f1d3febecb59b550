//! Reads the body of a request, within bounds of size and time.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::response::{self, HttpResponse};

/// The bounds of reading a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    TooSlow,
    BrokenOff,
}

impl BodyError {
    /// Returns the response to the request.
    pub(super) fn answer(self) -> HttpResponse {
        match self {
            Self::TooLarge => response::error(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"),
            Self::TooSlow => response::error(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::BrokenOff => response::error(StatusCode::BAD_REQUEST, "Bad Request"),
        }
    }
}

/// A header that may be given once is given more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DuplicateHeader;

/// Returns the value of `Content-Type`.
///
/// # Errors
/// If it is given more than once, in two lines or in one.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<&[u8]>, DuplicateHeader> {
    let mut given = headers.get_all(CONTENT_TYPE).into_iter().map(HeaderValue::as_bytes);
    match (given.next(), given.next()) {
        (_, Some(_)) => Err(DuplicateHeader),
        (Some(value), None) if value.contains(&b',') => Err(DuplicateHeader),
        (value, None) => Ok(value),
    }
}

/// Returns a media type without its parameters.
pub(super) fn essence(content_type: Option<&[u8]>) -> &[u8] {
    content_type.and_then(|value| value.split(|byte| *byte == b';').next()).unwrap_or_default().trim_ascii()
}

/// Returns whether the body has a content encoding.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .into_iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Reads a body into memory that is wiped when it is dropped, since it may hold secrets.
///
/// # Errors
/// If it is too large, takes too long, or ends early.
pub(super) async fn read(body: Incoming, bounds: Bounds) -> Result<Zeroizing<Vec<u8>>, BodyError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bounds.bytes {
        return Err(BodyError::TooLarge);
    }
    let reading = async {
        let mut body = body;
        // Allocated at full length: a buffer that grows leaves copies of its content behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(announced));
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| BodyError::BrokenOff)?.into_data() else { continue };
            if bytes.len() + data.len() > bounds.bytes {
                return Err(BodyError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    };
    tokio::time::timeout(bounds.time, reading).await.unwrap_or(Err(BodyError::TooSlow))
}
