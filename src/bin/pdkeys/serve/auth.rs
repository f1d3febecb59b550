//! `/auth`: a gateway asks whether the original request may go on.

use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, HeaderName};
use hyper::http::request::Parts;
use pdkeys::ports::monotonic;
use pdkeys::verify::{Api, BearerTakes, EventKeys, Presented, Verdict, events_request};

use super::Settings;
use super::answer::{self, Answer};
use super::body::{self, Bounds};
use super::checker::Unavailable;
use super::gateway::{AskedAt, Gateway, Original, original};
use super::log::Denials;
use super::metrics::Metrics;
use super::together::{Asking, Question};

/// How gateways are answered.
pub(super) struct Auth {
    pinned: Option<Gateway>,
    key_header: Option<HeaderName>,
    bearer: BearerTakes,
    bounds: Bounds,
}

impl Auth {
    pub(super) fn new(settings: &Settings, bounds: Bounds) -> Self {
        Self {
            pinned: settings.gateway,
            key_header: settings.key_header.clone(),
            bearer: if settings.bearer_keys { BearerTakes::AnyKey } else { BearerTakes::AppTokens },
            bounds,
        }
    }

    /// Answers a gateway.
    pub(super) async fn answer(
        &self,
        asking: Asking<'_>,
        metrics: &Metrics,
        denials: &Denials,
        at: AskedAt<'_>,
        request: &Parts,
        body: Incoming,
    ) -> Answer {
        let began = monotonic();
        let for_nginx = self.pinned == Some(Gateway::Nginx);
        let verdict = match self.verdict(asking, at, request, body).await {
            Ok(verdict) => verdict,
            Err(Undecided::Unavailable) => {
                metrics.failed();
                return answer::error_to_gateway(answer::unavailable(), for_nginx);
            }
            Err(Undecided::Body(fault)) => return answer::error_to_gateway(fault.answer(), for_nginx),
        };
        metrics.decided(verdict.api, verdict.reason, began.elapsed());
        if !verdict.is_allowed() {
            denials.note(&verdict);
        }
        answer::to_gateway(&verdict, for_nginx)
    }

    async fn verdict(
        &self,
        asking: Asking<'_>,
        at: AskedAt<'_>,
        request: &Parts,
        body: Incoming,
    ) -> Result<Verdict, Undecided> {
        let asked = match at {
            AskedAt::Exactly => None,
            AskedAt::Below(target) => Some((request.method.as_str(), target)),
        };
        let key_header = self.key_header.as_ref().unwrap_or(&AUTHORIZATION);
        let Ok(original) = original(self.pinned, key_header, asked, &request.headers) else {
            return Ok(Verdict::ambiguous_request(Api::Rest));
        };
        if let Some((api, in_path)) = events_request(original.method, original.target) {
            let in_body = if body.is_end_stream() {
                EventKeys::default()
            } else {
                let bytes = body::read(body, self.bounds).await.map_err(Undecided::Body)?;
                match EventKeys::parse(&bytes) {
                    Ok(keys) => keys,
                    Err(_) => return Ok(Verdict::ambiguous_request(api)),
                }
            };
            let in_path = in_path.as_ref().map(|key| key.as_bytes());
            return match in_body.presented(api, in_path, original.routing_key) {
                Ok(presented) => Self::check(asking, api, presented, &original).await,
                Err(_) => Ok(Verdict::ambiguous_request(api)),
            };
        }
        let presented = match (&self.key_header, original.credential) {
            (_, None) => Presented::Missing,
            (Some(_), Some(key)) => Presented::bare(key),
            (None, Some(value)) => Presented::authorization(value, self.bearer),
        };
        Self::check(asking, Api::Rest, presented, &original).await
    }

    async fn check(
        asking: Asking<'_>,
        api: Api,
        presented: Presented,
        original: &Original<'_>,
    ) -> Result<Verdict, Undecided> {
        let question =
            Question { api, presented, method: original.method.into(), target: original.target.into() };
        asking.ask(question).await.map_err(|Unavailable| Undecided::Unavailable)
    }
}

/// Why there is no verdict.
enum Undecided {
    /// It could not be found out.
    Unavailable,
    /// The body could not be read.
    Body(body::Fault),
}
