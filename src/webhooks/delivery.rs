//! Posting one message, and what comes of it.

use super::{Endpoint, Message};
use crate::telemetry::metrics;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout};

/// How long an endpoint may take, connecting to it included.
const PATIENCE: Duration = Duration::from_secs(15);

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The endpoint has it.
    Delivered,
    /// The endpoint wants nothing any more.
    Gone,
    /// To be tried again.
    Failed {
        /// What went wrong.
        error: String,
        /// After what time the endpoint wants to be asked again, if it said so.
        again: Option<Duration>,
    },
}

impl Endpoint {
    /// Posts a message once. If it failed, the endpoint may have got it all the same.
    pub(super) async fn post(&self, message: &Message) -> Outcome {
        let began = Instant::now();
        let posted = match timeout(PATIENCE, self.url.ask(self.request(message), None)).await {
            Ok(Ok(answer)) => Ok((answer.status, answer.headers.get(RETRY_AFTER).cloned())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let outcome = match posted {
            Ok((status, _)) if status.is_success() => Outcome::Delivered,
            Ok((StatusCode::GONE, _)) => Outcome::Gone,
            Ok((status, again)) => {
                Outcome::Failed { error: format!("answered with {status}"), again: again.and_then(seconds) }
            }
            Err(error) => Outcome::Failed { error, again: None },
        };
        metrics().webhook_seconds.record(began.elapsed());
        metrics().webhook_deliveries.increment(match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Gone => "gone",
            Outcome::Failed { .. } => "failed",
        });
        outcome
    }

    fn request(&self, message: &Message) -> Request<Body> {
        // The receiver compares it with its own clock, so it is this machine's and not the database's.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let keys = std::iter::once(&self.key).chain(&self.previous_key);
        let signatures: Vec<_> = keys.map(|key| key.sign(&message.id, now, &message.body)).collect();
        let text = |text: String| HeaderValue::try_from(text).expect("ids and signatures are plain ASCII");
        let mut request = Request::new(Body::from(message.body.clone()));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ID, text(message.id.clone()));
        headers.insert(TIMESTAMP, now.into());
        headers.insert(SIGNATURE, text(signatures.join(" ")));
        request
    }
}

/// A date is not understood: then the schedule alone counts.
fn seconds(value: HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
