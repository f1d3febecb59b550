//! Answers `/auth`: whether a gateway may forward the original request.

use hyper::body::{Body as _, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use pdkeys::ports::monotonic;
use pdkeys::verify::{Api, BearerTakes, EventKeys, EventRequest, Presented, Reason, Verdict};

use super::batcher::{BatchHandle, Check};
use super::body::{self, Bounds};
use super::gateway::{AuthPath, Gateway, KeyHeader, Original, original};
use super::log::Denials;
use super::metrics::Metrics;
use super::monitor::Unavailable;
use super::response::{self, HttpResponse};
use super::settings::Settings;

/// Answers gateways, as the settings say.
pub(super) struct Auth {
    pinned: Option<Gateway>,
    key_header: KeyHeader,
    /// Whether the header holds a bare key, without a scheme.
    is_bare: bool,
    bearer: BearerTakes,
    bounds: Bounds,
}

impl Auth {
    pub(super) fn new(settings: &Settings, bounds: Bounds) -> Self {
        Self {
            pinned: settings.gateway,
            key_header: KeyHeader::new(settings.key_header.clone().unwrap_or(AUTHORIZATION)),
            is_bare: settings.key_header.is_some(),
            bearer: if settings.bearer_keys { BearerTakes::AnyKey } else { BearerTakes::AppTokens },
            bounds,
        }
    }

    /// Answers a gateway.
    pub(super) async fn answer(
        &self,
        batcher: &BatchHandle,
        metrics: &Metrics,
        denials: &Denials,
        at: AuthPath<'_>,
        request: &Parts,
        body: Incoming,
    ) -> HttpResponse {
        let began = monotonic();
        let for_nginx = self.pinned == Some(Gateway::Nginx);
        let verdict = match self.verdict(batcher, at, request, body).await {
            Ok(verdict) => verdict,
            Err(Undecided::Unavailable) => {
                metrics.failed();
                return response::error_to_gateway(response::unavailable(), for_nginx);
            }
            Err(Undecided::Body(fault)) => return response::error_to_gateway(fault.answer(), for_nginx),
        };
        metrics.decided(verdict.api, verdict.reason, began.elapsed());
        if !verdict.is_allowed() {
            denials.note(&verdict);
        }
        response::to_gateway(&verdict, for_nginx)
    }

    async fn verdict(
        &self,
        batcher: &BatchHandle,
        at: AuthPath<'_>,
        request: &Parts,
        body: Incoming,
    ) -> Result<Verdict, Undecided> {
        let asked = match at {
            AuthPath::Exactly => None,
            AuthPath::Below(target) => Some((request.method.as_str(), target)),
        };
        let original = match original(self.pinned, &self.key_header, asked, &request.headers) {
            Ok(original) => original,
            Err(refused) => return Ok(refused.verdict()),
        };
        match EventRequest::parse(original.method, original.target) {
            Ok(None) => {}
            Ok(Some(event)) => return self.event(batcher, at, &event, &original, request, body).await,
            Err(Reason::AmbiguousPath) => return Ok(Verdict::ambiguous_path(Api::EventsV2)),
            Err(_) => return Ok(Verdict::ambiguous_request(Api::EventsV2)),
        }
        let presented = match original.credential {
            None => Presented::Missing,
            Some(key) if self.is_bare => Presented::bare(key),
            Some(value) => Presented::authorization(value, self.bearer),
        };
        Self::check(batcher, Api::Rest, presented, &original).await
    }

    /// Checks an event by its key, which can be in the path, a header or the body.
    async fn event(
        &self,
        batcher: &BatchHandle,
        at: AuthPath<'_>,
        event: &EventRequest,
        original: &Original<'_>,
        request: &Parts,
        body: Incoming,
    ) -> Result<Verdict, Undecided> {
        let ambiguous = Ok(Verdict::ambiguous_request(event.api));
        let in_path = event.in_path.as_ref().map(|key| key.as_bytes());
        let keys = if body.is_end_stream() {
            // Envoy sends the bodies of events. Without the body, its key is unknown.
            let is_hidden = matches!(at, AuthPath::Below(_));
            if is_hidden && in_path.or(original.routing_key).is_some() {
                return ambiguous;
            }
            EventKeys::default()
        } else {
            let bytes = body::read(body, self.bounds).await.map_err(Undecided::Body)?;
            let Ok(content_type) = body::content_type(&request.headers) else { return ambiguous };
            if body::is_encoded(&request.headers) {
                return ambiguous;
            }
            match EventKeys::parse(&bytes, content_type) {
                Ok(keys) => keys,
                Err(_) => return ambiguous,
            }
        };
        match keys.presented(event.api, in_path, original.routing_key) {
            Ok(presented) => Self::check(batcher, event.api, presented, original).await,
            Err(_) => ambiguous,
        }
    }

    async fn check(
        batcher: &BatchHandle,
        api: Api,
        presented: Presented,
        original: &Original<'_>,
    ) -> Result<Verdict, Undecided> {
        let (method, target) = (original.method.into(), original.target.into());
        let check = Check { api, presented, method, target };
        batcher.check(check).await.map_err(|Unavailable| Undecided::Unavailable)
    }
}

/// Why there is no verdict.
enum Undecided {
    /// The store cannot be used.
    Unavailable,
    /// The body could not be read.
    Body(body::BodyError),
}
