//! Reading the body of a request: so much of it, and no longer than so.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use zeroize::Zeroizing;

use super::answer::{self, Answer};

/// The bounds of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// Reads a body. It may hold secrets, and is wiped when it goes.
///
/// # Errors
/// The answer to a body that is too large, comes too slowly, or breaks off.
pub(super) async fn read(body: Incoming, bounds: Bounds) -> Result<Zeroizing<Vec<u8>>, Answer> {
    let too_large = || answer::error(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bounds.bytes {
        return Err(too_large());
    }
    let reading = async {
        let mut body = body;
        // As long as it says to be: one that grew would leave copies of what it held behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(announced));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| answer::error(StatusCode::BAD_REQUEST, "Bad Request"))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > bounds.bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    };
    tokio::time::timeout(bounds.time, reading)
        .await
        .unwrap_or_else(|_| Err(answer::error(StatusCode::REQUEST_TIMEOUT, "Request Timeout")))
}
