//! A test instance without a listener, and a client that calls its router.

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

/// Returns an endpoint whose URL does not exist.
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

/// The id of another instance that holds the endpoints' delivery leases, so that no test posts
/// webhooks.
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
        acquired.expect("the store works").expect("it is free");
    }
}

pub fn limit(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("a limit is not zero")
}

/// A test instance and its router.
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

    /// Starts a server with a configuration that `change` has modified.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> RestServer {
        let store = Faulty::<MemoryStore>::default();
        deliver_webhooks_elsewhere(&store).await;
        let mut config = Config::default();
        config.sockets.commands_per_second = limit(1_000);
        config.sessions.led_raids_max = 1_000;
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

    /// Sends `METHOD /path` with a token (if not empty), headers and a body (if not null). Panics
    /// if the OpenAPI document does not allow the response.
    pub async fn request(
        &self,
        route: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> RestResponse {
        let (method, path) = route.split_once(' ').expect("method and path");
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
        let response = RestResponse {
            status: parts.status,
            headers: parts.headers,
            body,
        };
        openapi_check::check(route, &response);
        response
    }

    pub async fn get(&self, path: &str, token: &str) -> RestResponse {
        self.request(&format!("GET {path}"), token, &[], Value::Null)
            .await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> RestResponse {
        self.request(&format!("POST {path}"), token, &[], body)
            .await
    }

    /// Signs a guest in and returns the pair of tokens.
    pub async fn sign_in_guest(&self, name: &str) -> Value {
        self.post("/auth/guest", "", json!({"name": name}))
            .await
            .expect_data(201)
    }

    /// Signs a guest in and returns the access token.
    pub async fn guest_token(&self, name: &str) -> String {
        json_text(&self.sign_in_guest(name).await["access_token"])
    }

    /// Returns a token of a scope that names no player.
    pub fn scoped_token(&self, scope: Scope) -> String {
        self.auth
            .mint_scoped(scope, "backend", None, SECOND * 60, self.clock.now())
    }

    /// Creates and returns a raid of this leader; two contributions complete it.
    pub async fn create_raid(&self, leader: &str) -> Value {
        let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
        self.post("/raids", leader, new).await.expect_data(201)
    }

    /// Sends a command to a raid.
    pub async fn send_command(&self, raid: &Value, token: &str, cmd: Value) -> RestResponse {
        self.post(
            &format!("/raids/{raid}/commands"),
            token,
            json!({ "cmd": cmd }),
        )
        .await
    }
}

/// The response to a request, its body parsed as JSON where it is JSON.
#[derive(Debug)]
pub struct RestResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl RestResponse {
    /// Returns the `data` of a response; panics unless it has this status.
    #[track_caller]
    pub fn expect_data(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body["data"].clone()
    }

    /// Returns the `error` of a response; panics unless it is an error of this type.
    #[track_caller]
    pub fn expect_error(self, kind: &str) -> Value {
        assert_eq!(self.body["error"]["type"], kind, "{}", self.body);
        assert_eq!(self.body["error"]["status"], self.status.as_u16());
        self.body["error"].clone()
    }

    /// Returns the names of the faulty fields; panics unless the response is an `invalid` error.
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

/// Returns the text of a JSON string.
#[track_caller]
pub fn json_text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
