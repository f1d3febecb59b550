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
            Self::TooLarge => answer::error(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"),
            Self::TooSlow => answer::error(StatusCode::REQUEST_TIMEOUT, "Request Timeout"),
            Self::BrokenOff => answer::error(StatusCode::BAD_REQUEST, "Bad Request"),
        }
    }
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
