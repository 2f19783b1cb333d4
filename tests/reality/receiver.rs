//! A host app's end of webhooks: writes down what comes, checks its signature, and answers as it is told.

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

/// What it and the servers know.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Whose value [`PushReceiver::setting`] gives.
pub const ENDPOINTS: &str = "WEBHOOKS__ENDPOINTS";

/// A message that came and was answered.
#[derive(Debug, Clone)]
pub struct Got {
    pub id: String,
    pub signed: bool,
    pub body: Value,
}

pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    serving: JoinHandle<()>,
}

struct Shared {
    got: Vec<Got>,
    asked: usize,
    answer: StatusCode,
    hangs: bool,
}

impl Receiver {
    pub async fn open() -> Receiver {
        let shared = Shared {
            got: Vec::new(),
            asked: 0,
            answer: StatusCode::OK,
            hangs: false,
        };
        let shared = Arc::new(Mutex::new(shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .route("/hooks", post(take))
            .with_state(Arc::clone(&shared));
        let serving =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Receiver {
            address,
            shared,
            serving,
        }
    }

    /// What has a server tell it.
    pub fn setting(&self) -> String {
        format!(
            r#"[{{name="app",url="http://{}/hooks",secret="{SECRET}"}}]"#,
            self.address
        )
    }

    /// What it answers from now on.
    pub fn answer(&self, status: StatusCode) {
        self.shared.lock().answer = status;
    }

    /// Whether it answers at all.
    pub fn hang(&self, hangs: bool) {
        self.shared.lock().hangs = hangs;
    }

    pub fn got(&self) -> Vec<Got> {
        self.shared.lock().got.clone()
    }

    /// Waits until so many came.
    pub async fn wait_for(&self, count: usize) -> Vec<Got> {
        crate::eventually("messages came", async || {
            self.shared.lock().got.len() >= count
        })
        .await;
        self.got()
    }

    /// Waits until so many came, answered or not.
    pub async fn wait_for_asked(&self, count: usize) {
        crate::eventually("it is asked", async || self.shared.lock().asked >= count).await;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(
    State(shared): State<Arc<Mutex<Shared>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let hangs = {
        let mut shared = shared.lock();
        shared.asked += 1;
        shared.hangs
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
    let (id, seconds) = (header("webhook-id"), header("webhook-timestamp"));
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
    shared.got.push(Got { id, signed, body });
    shared.answer
}
