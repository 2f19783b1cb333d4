//! Everything behind the doors, started, and a client that knocks.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use raidhall::auth::{self, Auth, AuthSecret, RevocationPoller, Scope};
use raidhall::clock::Clock;
use raidhall::cluster::client::ClusterClient;
use raidhall::cluster::lease::Lease;
use raidhall::cluster::membership::Membership;
use raidhall::cluster::ownership::OwnershipClient;
use raidhall::fanout::audience::RingOptions;
use raidhall::http::{self, AppState, OriginPolicy, Readiness};
use raidhall::jobs::eraser::Eraser;
use raidhall::net::client_address::{PeerAddress, TrustedProxies};
use raidhall::session::{self, Sessions};
use raidhall::store::journal::{self, Journal};
use raidhall::store::memory::MemoryStore;
use raidhall::store::{Instance, InstanceId, Store};
use raidhall::webhooks::{Endpoint, WebhookEventKind};
use raidhall::ws::{self, ConnectionLimits, ConnectionService};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use uuid::Uuid;

use crate::openapi_check;

const SECOND: Duration = Duration::from_secs(1);

/// Somebody to be told, whom nobody tells.
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

/// A server without a socket.
pub struct RestServer {
    pub router: Router,
    pub store: MemoryStore,
    pub auth: Auth,
    pub clock: Arc<Clock>,
}

impl RestServer {
    pub async fn start() -> RestServer {
        RestServer::start_with(|_, _| {}).await
    }

    /// A house whose rules of entry `change` makes different.
    pub async fn start_with(
        change: impl FnOnce(&mut http::Options, &mut auth::Options),
    ) -> RestServer {
        let memory = MemoryStore::default();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let ws_url = "ws://127.0.0.1:8080/api/v1/ws".to_owned();
        let instance = Instance {
            id: InstanceId(Uuid::now_v7()),
            ws_url: ws_url.clone(),
            release: "test".into(),
            draining: false,
        };
        let renewal = store
            .register(&instance, SECOND * 3600, SECOND)
            .await
            .expect("enlisted");
        let clock = Arc::new(Clock::new(renewal.now));
        let mut options = http::Options {
            ws_url,
            body_bytes_max: 65_536,
            body_timeout: SECOND * 10,
            request_timeout: SECOND * 15,
            allowed_origins: OriginPolicy::none(),
            trusted_proxies: TrustedProxies::default(),
            guest_signins_per_minute: 60,
            invite_guesses_per_minute: 20,
            commands_per_second: 1000,
            rest_reads_per_minute: 1200,
            rest_writes_per_minute: 300,
            shared_limits: None,
        };
        let mut tokens = auth::Options {
            secret: AuthSecret::new([7; 32]).expect("long enough"),
            accepted_secret: None,
            access_ttl: SECOND * 900,
            refresh_ttl: SECOND * 86_400,
            can_guests_sign_in: true,
            issuers: Vec::new(),
            telegram: None,
        };
        change(&mut options, &mut tokens);
        let auth = Auth::new(tokens);
        let sessions = sessions(&store, &clock, &instance);
        let lookout =
            RevocationPoller::load(Arc::clone(&store), auth.clone(), Arc::clone(&clock)).await;
        TaskTracker::new().spawn(lookout.expect("the store answers").run(|_| {}));
        let readiness = Readiness::new(SECOND * 3);
        let sockets = connection_service(&sessions, &store, &auth, &clock, &options);
        let closed = Arc::<Notify>::default();
        let eraser = Eraser {
            store: Arc::clone(&store),
            sessions: sessions.clone(),
            clock: Arc::clone(&clock),
            erasure_requested: Arc::clone(&closed),
        };
        TaskTracker::new().spawn(eraser.run());
        let doors = AppState {
            sessions,
            store,
            auth: auth.clone(),
            clock: Arc::clone(&clock),
            readiness,
            erasure_requested: closed,
            webhook_endpoints: Arc::from([endpoint("app"), endpoint("crm")]),
        };
        RestServer {
            router: http::build_router(doors, &options, sockets.router()),
            store: memory,
            auth,
            clock,
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

fn connection_service(
    sessions: &Sessions,
    store: &Arc<dyn Store>,
    auth: &Auth,
    clock: &Arc<Clock>,
    options: &http::Options,
) -> ConnectionService {
    let many = 1_000;
    let options = ws::Options {
        allowed_origins: options.allowed_origins.clone(),
        message_bytes_max: 16_384,
        commands_per_second: NonZeroU32::new(1_000).expect("not zero"),
        bytes_per_second: 1 << 20,
        watches_max: 32,
        signal_bytes_max: 1024,
        connection_limits: ConnectionLimits {
            connections: many,
            per_address: many,
            per_player: many,
            unauthenticated: many,
            unauthenticated_per_address: many,
        },
        handshakes_per_second: NonZeroU32::new(1_000).expect("not zero"),
        outbox_messages_max: 256,
        outbox_bytes_max: 1 << 20,
        hello_timeout: SECOND * 5,
        heartbeat_interval: SECOND * 20,
        write_stall_timeout: SECOND * 10,
        drain_spread: SECOND * 2,
    };
    let (sessions, store, auth) = (sessions.clone(), Arc::clone(store), auth.clone());
    ConnectionService::new(
        sessions,
        store,
        auth,
        Arc::clone(clock),
        "lineage".into(),
        options,
        TaskTracker::new(),
    )
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

fn sessions(store: &Arc<dyn Store>, clock: &Arc<Clock>, instance: &Instance) -> Sessions {
    let (journal, writers) = Journal::new(
        store,
        &journal::Options {
            writers: 2,
            batch_events_max: 4096,
            queue_max: 1024,
            commit_patience: SECOND * 2,
        },
    );
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    for writer in writers {
        tasks.spawn(writer.run());
    }
    let options = session::Options {
        mailbox_messages_max: 256,
        idle_timeout: SECOND * 60,
        presence_grace: SECOND * 5,
        leader_grace: SECOND * 60,
        op_keys_max: 65_536,
        snapshot_min_events: 256,
        replay_events_max: 1024,
        ring: RingOptions {
            events_max: 1024,
            bytes_max: 1 << 20,
        },
        load_timeout: SECOND * 5,
        concurrent_loads_max: 4,
    };
    let (claims, clerk) = OwnershipClient::new(Arc::clone(store), instance.id);
    tasks.spawn(clerk.run());
    let peers = Membership::new(SECOND * 3);
    let link = ClusterClient::standalone(instance.id, Arc::clone(clock), peers);
    let (store, clock) = (Arc::clone(store), Arc::clone(clock));
    let parts = session::Dependencies {
        store,
        journal,
        clock,
        lease: Arc::new(Lease::unlimited()),
        cluster: link,
        claims,
    };
    Sessions::new(parts, options, tasks, stop)
}
