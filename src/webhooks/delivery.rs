//! Delivery of one message by HTTP, and its outcome.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use tokio::time::{Instant, timeout};

use super::{Endpoint, WebhookMessage};
use crate::http_client;
use crate::telemetry::{WebhookOutcome, metrics};

/// Longest time for one post, including the connection.
const POST_TIMEOUT: Duration = Duration::from_secs(15);

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Outcome of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeliveryOutcome {
    /// The endpoint has accepted the message.
    Delivered,
    /// The endpoint accepts no more messages.
    Gone,
    /// The attempt failed and is to be repeated.
    Failed {
        error: String,
        /// Delay that the endpoint asked for, if any.
        retry_after: Option<Duration>,
    },
}

impl Endpoint {
    /// Posts a message once. Even if that fails, the endpoint may have received it.
    pub(super) async fn post(&self, message: &WebhookMessage) -> DeliveryOutcome {
        let began = Instant::now();
        let outcome = match timeout(
            POST_TIMEOUT,
            http_client::send_discarding_body(self.request(message)),
        )
        .await
        {
            Ok(Ok(answer)) => classify_response(answer.status(), answer.headers()),
            Ok(Err(error)) => DeliveryOutcome::Failed {
                error: error.to_string(),
                retry_after: None,
            },
            Err(_) => DeliveryOutcome::Failed {
                error: format!("no answer within {} s", POST_TIMEOUT.as_secs()),
                retry_after: None,
            },
        };
        metrics().webhook_seconds.record(began.elapsed());
        metrics().webhook_deliveries.increment(match outcome {
            DeliveryOutcome::Delivered => WebhookOutcome::Delivered,
            DeliveryOutcome::Gone => WebhookOutcome::Gone,
            DeliveryOutcome::Failed { .. } => WebhookOutcome::Failed,
        });
        outcome
    }

    fn request(&self, message: &WebhookMessage) -> Request<Bytes> {
        // The receiver compares the timestamp with its own clock, so it comes from this machine's
        // clock and not from the database's.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let keys = std::iter::once(&self.signing_key).chain(&self.previous_signing_key);
        let signatures: Vec<_> = keys
            .map(|key| key.sign(&message.id, now, &message.body))
            .collect();
        let text =
            |text: String| HeaderValue::try_from(text).expect("ids and signatures are plain ASCII");
        let mut request = Request::new(Bytes::from(message.body.clone()));
        *request.uri_mut() = self.url.uri().clone();
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(WEBHOOK_ID, text(message.id.clone()));
        headers.insert(WEBHOOK_TIMESTAMP, now.into());
        headers.insert(WEBHOOK_SIGNATURE, text(signatures.join(" ")));
        request
    }
}

/// Classifies a response. A redirect is a failure: the configuration names the endpoint's URL.
fn classify_response(status: StatusCode, headers: &HeaderMap) -> DeliveryOutcome {
    match status {
        StatusCode::GONE => DeliveryOutcome::Gone,
        status if status.is_success() => DeliveryOutcome::Delivered,
        status => DeliveryOutcome::Failed {
            error: format!("answered with {status}"),
            retry_after: headers.get(RETRY_AFTER).and_then(parse_retry_after),
        },
    }
}

/// Parses a delay in seconds. A date is ignored, so only the schedule counts then.
fn parse_retry_after(value: &HeaderValue) -> Option<Duration> {
    value
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::{SigningKey, WebhookEventKind};

    #[test]
    fn a_webhook_response_decides_the_outcome_and_the_retry_delay() {
        let of = |status: u16, after: Option<&'static str>| {
            let after = after.map(|after| (RETRY_AFTER, HeaderValue::from_static(after)));
            classify_response(
                StatusCode::from_u16(status).expect("a status"),
                &after.into_iter().collect(),
            )
        };
        let failed = |error: &str, again| {
            let error = format!("answered with {error}");
            DeliveryOutcome::Failed {
                error,
                retry_after: again,
            }
        };
        for taken in [200, 204] {
            assert_eq!(of(taken, None), DeliveryOutcome::Delivered);
        }
        assert_eq!(of(410, Some("5")), DeliveryOutcome::Gone);
        assert_eq!(of(302, None), failed("302 Found", None));
        let late = Some(Duration::from_secs(120));
        assert_eq!(
            of(429, Some(" 120 ")),
            failed("429 Too Many Requests", late)
        );
        for unclear in ["Fri, 31 Dec 1999 23:59:59 GMT", "-1", "soon"] {
            assert_eq!(
                of(503, Some(unclear)),
                failed("503 Service Unavailable", None)
            );
        }
    }

    #[test]
    fn a_message_is_signed_with_both_keys_during_a_rotation() {
        let key = |filler: &str| {
            format!("whsec_{}", filler.repeat(32))
                .parse::<SigningKey>()
                .expect("a key")
        };
        let (key, previous) = (key("A"), key("B"));
        let url = "http://127.0.0.1:9/".parse().expect("a URL");
        let mut endpoint = Endpoint {
            name: "app".to_owned(),
            url,
            signing_key: key.clone(),
            previous_signing_key: None,
            event_kinds: WebhookEventKind::ALL.to_vec(),
        };
        let message = WebhookMessage {
            id: "abc_7_12".to_owned(),
            body: b"{}".to_vec(),
        };
        for previous in [None, Some(previous)] {
            endpoint.previous_signing_key = previous.clone();
            let request = endpoint.request(&message);
            let header =
                |name: HeaderName| request.headers()[name].to_str().expect("text").to_owned();
            let at = header(WEBHOOK_TIMESTAMP).parse().expect("seconds");
            let signed = |key: &SigningKey| key.sign("abc_7_12", at, b"{}");
            let expected: Vec<_> = [&key].into_iter().chain(&previous).map(signed).collect();
            assert_eq!(
                (header(WEBHOOK_ID), header(WEBHOOK_SIGNATURE)),
                ("abc_7_12".to_owned(), expected.join(" "))
            );
        }
    }
}
