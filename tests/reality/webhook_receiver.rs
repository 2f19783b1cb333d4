//! A host app's webhook receiver: it records deliveries, checks their signatures, and responds as
//! configured.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The signing secret that the receiver and the servers share.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The configuration key whose value [`WebhookReceiver::endpoints_setting`] returns.
pub const ENDPOINTS: &str = "WEBHOOKS__ENDPOINTS";

/// A webhook message that was received and answered.
#[derive(Debug, Clone)]
pub struct ReceivedWebhook {
    pub id: String,
    pub has_valid_signature: bool,
    pub body: Value,
}

pub struct WebhookReceiver {
    address: SocketAddr,
    state: Arc<Mutex<WebhookReceiverState>>,
    serving: JoinHandle<()>,
}

struct WebhookReceiverState {
    received: Vec<ReceivedWebhook>,
    request_count: usize,
    status: StatusCode,
    is_hanging: bool,
}

impl WebhookReceiver {
    pub async fn start() -> WebhookReceiver {
        let shared = WebhookReceiverState {
            received: Vec::new(),
            request_count: 0,
            status: StatusCode::OK,
            is_hanging: false,
        };
        let shared = Arc::new(Mutex::new(shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .route("/hooks", post(handle_delivery))
            .with_state(Arc::clone(&shared));
        let serving =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        WebhookReceiver {
            address,
            state: shared,
            serving,
        }
    }

    /// Returns the setting that makes a server deliver to this receiver.
    pub fn endpoints_setting(&self) -> String {
        format!(
            r#"[{{name="app",url="http://{}/hooks",secret="{SECRET}"}}]"#,
            self.address
        )
    }

    /// Sets the status of all responses from now on.
    pub fn set_status(&self, status: StatusCode) {
        self.state.lock().status = status;
    }

    /// Sets whether requests hang without a response.
    pub fn set_hanging(&self, hangs: bool) {
        self.state.lock().is_hanging = hangs;
    }

    pub fn received(&self) -> Vec<ReceivedWebhook> {
        self.state.lock().received.clone()
    }

    /// Waits until this many messages have been received.
    pub async fn wait_for_received(&self, count: usize) -> Vec<ReceivedWebhook> {
        crate::wait_until("the messages are received", async || {
            self.state.lock().received.len() >= count
        })
        .await;
        self.received()
    }

    /// Waits until this many requests have arrived, answered or not.
    pub async fn wait_for_requests(&self, count: usize) {
        crate::wait_until("the requests have arrived", async || {
            self.state.lock().request_count >= count
        })
        .await;
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn handle_delivery(
    State(shared): State<Arc<Mutex<WebhookReceiverState>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let hangs = {
        let mut shared = shared.lock();
        shared.request_count += 1;
        shared.is_hanging
    };
    if hangs {
        pending::<()>().await;
    }
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    let id = header("webhook-id");
    let seconds = header("webhook-timestamp");
    let key = BASE64
        .decode(SECRET.trim_start_matches("whsec_").as_bytes())
        .expect("a key");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(&body);
    let signed = header("webhook-signature")
        == format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    let signed = signed && header("content-type") == "application/json";
    let mut shared = shared.lock();
    let body = serde_json::from_slice(&body).expect("JSON");
    shared.received.push(ReceivedWebhook {
        id,
        has_valid_signature: signed,
        body,
    });
    shared.status
}
