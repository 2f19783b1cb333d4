//! An instance without a listener, and a client that calls its router.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use raidhall::app::{Instance, InstanceParts};
use raidhall::auth::{Auth, AuthSecret, Scope};
use raidhall::clock::Clock;
use raidhall::config::Config;
use raidhall::net::client_address::PeerAddress;
use raidhall::store::faulty::Faulty;
use raidhall::store::memory::MemoryStore;
use raidhall::store::{InstanceId, InstanceRecord, Leases, WebhookDeliveries};
use raidhall::webhooks::{Endpoint, WebhookEventKind};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use crate::openapi_check;

const SECOND: Duration = Duration::from_secs(1);

/// An endpoint that does not exist.
fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        url: "https://app.example/hooks".parse().expect("a URL"),
        signing_key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
            .parse()
            .expect("a key"),
        previous_signing_key: None,
        event_kinds: WebhookEventKind::ALL.to_vec(),
    }
}

/// The instance that delivers webhooks, so that no test posts any.
pub const DELIVERING_INSTANCE: InstanceId = InstanceId(Uuid::max());

async fn deliver_webhooks_elsewhere(store: &Faulty<MemoryStore>) {
    let record = InstanceRecord {
        id: DELIVERING_INSTANCE,
        ws_url: "ws://127.0.0.1:8081/api/v1/ws".into(),
        release: "test".into(),
        draining: false,
    };
    let registered = store.register(&record, SECOND * 86_400, SECOND).await;
    registered.expect("registered");
    for endpoint in ["app", "crm"] {
        let acquired = store.acquire_endpoint(endpoint, DELIVERING_INSTANCE).await;
        acquired.expect("asked").expect("it is free");
    }
}

/// A limit's value.
pub fn limit(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("a limit is not zero")
}

/// A server without a listener.
pub struct RestServer {
    pub router: Router,
    pub store: Faulty<MemoryStore>,
    pub auth: Auth,
    pub clock: Arc<Clock>,
    _instance: Instance,
}

impl RestServer {
    pub async fn start() -> RestServer {
        RestServer::start_with(|_| {}).await
    }

    /// Starts a server whose configuration `change` has changed.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> RestServer {
        let store = Faulty::<MemoryStore>::default();
        deliver_webhooks_elsewhere(&store).await;
        let mut config = Config::default();
        config.http.commands_per_second = limit(1_000);
        config.webhooks.endpoints = vec![endpoint("app"), endpoint("crm")];
        change(&mut config);
        let instance = Instance::start(InstanceParts {
            id: InstanceId(Uuid::now_v7()),
            config,
            store: Arc::new(store.clone()),
            bus: None,
            shared_limits: None,
            secret: AuthSecret::new([7; 32]).expect("long enough"),
            base_url: "http://127.0.0.1:8080".parse().expect("a URL"),
            has_lease_thread: false,
        })
        .await
        .expect("started");
        RestServer {
            router: instance.router(),
            store,
            auth: instance.auth().clone(),
            clock: Arc::clone(instance.clock()),
            _instance: instance,
        }
    }

    /// Asks `method path` with a token (if not empty), headers and a body (if not null). The answer must be one that the
    /// OpenAPI document allows.
    pub async fn request(
        &self,
        request: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> RestResponse {
        let asked = request;
        let (method, path) = asked.split_once(' ').expect("method and path");
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"));
        request = request.extension(PeerAddress(SocketAddr::from(([192, 0, 2, 1], 4000))));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let request = request.body(body).expect("a request");
        let (parts, body) = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("infallible")
            .into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        let is_json = parts
            .headers
            .get("content-type")
            .is_some_and(|kind| kind == "application/json");
        let body = if is_json {
            serde_json::from_slice(&bytes).expect("JSON")
        } else {
            String::from_utf8(bytes.into()).expect("text").into()
        };
        let answer = RestResponse {
            status: parts.status,
            headers: parts.headers,
            body,
        };
        openapi_check::check(asked, &answer);
        answer
    }

    pub async fn get(&self, path: &str, token: &str) -> RestResponse {
        self.request(&format!("GET {path}"), token, &[], Value::Null)
            .await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> RestResponse {
        self.request(&format!("POST {path}"), token, &[], body)
            .await
    }

    /// A guest's pair of tokens.
    pub async fn sign_in_guest(&self, name: &str) -> Value {
        self.post("/auth/guest", "", json!({"name": name}))
            .await
            .expect_data(201)
    }

    /// A guest's access token.
    pub async fn guest_token(&self, name: &str) -> String {
        json_text(&self.sign_in_guest(name).await["access_token"])
    }

    /// A token of another scope.
    pub fn scoped_token(&self, scope: Scope) -> String {
        self.auth
            .mint_scoped(scope, "backend", None, SECOND * 60, self.clock.now())
    }

    /// A raid of this leader that two contributions win.
    pub async fn create_raid(&self, leader: &str) -> Value {
        let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
        self.post("/raids", leader, new).await.expect_data(201)
    }

    /// Carries out a command and gives its seq.
    pub async fn send_command(&self, raid: &Value, token: &str, cmd: Value) -> RestResponse {
        self.post(
            &format!("/raids/{raid}/commands"),
            token,
            json!({ "cmd": cmd }),
        )
        .await
    }
}

/// What the house answered.
#[derive(Debug)]
pub struct RestResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl RestResponse {
    /// The data of a success.
    #[track_caller]
    pub fn expect_data(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body["data"].clone()
    }

    /// The error of a failure of this type.
    #[track_caller]
    pub fn expect_error(self, kind: &str) -> Value {
        assert_eq!(self.body["error"]["type"], kind, "{}", self.body);
        assert_eq!(self.body["error"]["status"], self.status.as_u16());
        self.body["error"].clone()
    }

    /// The names of the faulty fields of an `invalid`.
    #[track_caller]
    pub fn invalid_fields(self) -> Vec<String> {
        let error = self.expect_error("invalid");
        let fields = error["fields"].as_array().expect("fields");
        fields
            .iter()
            .map(|fault| json_text(&fault["field"]))
            .collect()
    }
}

/// A JSON text's text.
#[track_caller]
pub fn json_text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
