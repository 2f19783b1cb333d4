//! The REST API, as a player uses it.

mod player_stream;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use raidhall_protocol::rest::{
    CommandResult, Contribution, Data, NewRaid, Profile, RaidSummary, RaidView, TokenPair,
};
use raidhall_protocol::{Command, ErrorBody, ErrorType, Event, OpKey, PlayerId, RaidId, Seq};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::http::HttpClient;
use crate::target::Target;
use crate::targets::Targets;

const PAGE_ROWS: u64 = 100;
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A client of the REST API of one server or several, with one player's token or without any.
#[derive(Debug, Clone)]
pub struct RestClient {
    http: HttpClient,
    targets: Targets,
    token: Option<String>,
    retry_timeout: Duration,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum RestClientError {
    /// The server answered with a typed error.
    #[error("{what}: {} ({status}): {}", .body.r#type.as_str(), .body.message)]
    Refused {
        what: String,
        status: u16,
        body: ErrorBody,
    },
    /// The response does not follow the protocol.
    #[error("{what}: status {status} with {text:?}")]
    UnexpectedResponse {
        what: String,
        status: u16,
        /// The decoding error and the beginning of the body.
        text: String,
    },
    /// The server gave no response.
    #[error("{what}: {why}")]
    NoResponse { what: String, why: anyhow::Error },
}

impl RestClientError {
    /// Returns whether the same request may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { body, .. } => body.retry,
            Self::UnexpectedResponse { .. } => false,
            Self::NoResponse { .. } => true,
        }
    }

    /// Returns whether the server answered with an error of this type.
    pub fn has_type(&self, r#type: ErrorType) -> bool {
        matches!(self, Self::Refused { body, .. } if body.r#type == r#type)
    }

    /// Returns whether another server may answer a request that this one could not.
    const fn is_retryable_elsewhere(&self) -> bool {
        matches!(
            self,
            Self::NoResponse { .. } | Self::Refused { status: 503, .. }
        )
    }
}

#[derive(Deserialize)]
struct ErrorEnvelope {
    error: ErrorBody,
}

impl RestClient {
    /// Creates a client of one server, without a token.
    pub fn new(target: &Target) -> anyhow::Result<RestClient> {
        Self::with_targets(Targets::from(*target))
    }

    /// Creates a client of several servers, without a token. Requests go to the home server first.
    /// When a server gives no response, the next one is tried immediately, once around, whatever
    /// the retry timeout.
    pub fn with_targets(targets: Targets) -> anyhow::Result<RestClient> {
        Ok(RestClient {
            http: HttpClient::new(targets.network()),
            targets,
            token: None,
            retry_timeout: Duration::ZERO,
        })
    }

    /// Returns the same client with a player's access token.
    pub fn with_token(&self, token: &str) -> RestClient {
        RestClient {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// Returns the same client that repeats a request for this long while the server gives no
    /// response or answers with `retry`. Only for requests that are safe to repeat: all of this
    /// client's are, `create_raid` by its idempotency key.
    pub fn with_retry_timeout(&self, retry_timeout: Duration) -> RestClient {
        RestClient {
            retry_timeout,
            ..self.clone()
        }
    }

    /// Returns the same client with another home server.
    pub fn with_home(&self, home: usize) -> RestClient {
        RestClient {
            targets: self.targets.with_home(home),
            ..self.clone()
        }
    }

    /// Returns the same client that knows only the server at this index.
    pub fn only(&self, server: usize) -> RestClient {
        RestClient {
            targets: self.targets.only(server),
            ..self.clone()
        }
    }

    pub const fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Signs in a new guest.
    pub async fn sign_in_guest(&self, name: &str) -> Result<TokenPair, RestClientError> {
        self.request(
            Method::POST,
            "/auth/guest",
            Some(json!({ "name": name })),
            None,
        )
        .await
    }

    /// Exchanges a refresh token for the next pair of tokens.
    pub async fn refresh_tokens(&self, refresh_token: &str) -> Result<TokenPair, RestClientError> {
        let body = json!({ "refresh_token": refresh_token });
        self.request(Method::POST, "/auth/refresh", Some(body), None)
            .await
    }

    /// Returns the profile of the token's player, with totals.
    pub async fn profile(&self) -> Result<Profile, RestClientError> {
        self.request(Method::GET, "/me", None, None).await
    }

    /// Closes the account of the token's player for good.
    pub async fn erase_self(&self) -> Result<(), RestClientError> {
        let _: Value = self.request(Method::DELETE, "/me", None, None).await?;
        Ok(())
    }

    /// Bans a player; only an operator may.
    pub async fn ban(&self, player: PlayerId, reason: &str) -> Result<(), RestClientError> {
        let path = format!("/admin/players/{player}/ban");
        let body = json!({ "reason": reason });
        let _: Value = self.request(Method::POST, &path, Some(body), None).await?;
        Ok(())
    }

    /// Creates a raid; a repeat with the same key returns the same raid. Without a key the request
    /// gets a fresh one, because a server that gave no response may have created the raid.
    pub async fn create_raid(
        &self,
        raid: &NewRaid,
        key: Option<&OpKey>,
    ) -> Result<RaidView, RestClientError> {
        let fresh = OpKey::try_from(format!("create-{:032x}", rand::random::<u128>())).ok();
        self.request(
            Method::POST,
            "/raids",
            Some(to_json(raid)),
            key.or(fresh.as_ref()),
        )
        .await
    }

    pub async fn join_raid(&self, invite_code: &str) -> Result<RaidView, RestClientError> {
        self.request(
            Method::POST,
            "/raids/join",
            Some(json!({ "invite_code": invite_code })),
            None,
        )
        .await
    }

    pub async fn raid(&self, raid: RaidId) -> Result<RaidView, RestClientError> {
        self.request(Method::GET, &format!("/raids/{raid}"), None, None)
            .await
    }

    /// Returns the newest raids of the token's player, at most 20.
    pub async fn raids(&self) -> Result<Vec<RaidSummary>, RestClientError> {
        self.request(Method::GET, "/raids", None, None).await
    }

    /// Sends a command by REST instead of the WebSocket.
    pub async fn send_command(
        &self,
        raid: RaidId,
        op: Option<&OpKey>,
        command: &Command,
    ) -> Result<CommandResult, RestClientError> {
        let body = json!({ "op": op, "cmd": command });
        self.request(
            Method::POST,
            &format!("/raids/{raid}/commands"),
            Some(body),
            None,
        )
        .await
    }

    /// Returns one page of the ledger after a seq: at most `limit` (1–100) events.
    pub async fn events(
        &self,
        raid: RaidId,
        after: Seq,
        limit: u64,
    ) -> Result<Vec<Event>, RestClientError> {
        let path = format!("/raids/{raid}/events?after={after}&limit={limit}");
        self.request(Method::GET, &path, None, None).await
    }

    /// Returns the raid's whole ledger, read page by page. A page that makes no progress ends the
    /// reading.
    pub async fn all_events(&self, raid: RaidId) -> Result<Vec<Event>, RestClientError> {
        let mut all: Vec<Event> = Vec::new();
        loop {
            let after = all.last().map_or(Seq::ZERO, |event| event.seq);
            let page = self.events(raid, after, PAGE_ROWS).await?;
            let full = page.len() as u64 == PAGE_ROWS
                && page.last().is_some_and(|event| event.seq > after);
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    /// Returns all contributions of the raid, read page by page.
    pub async fn all_contributions(
        &self,
        raid: RaidId,
    ) -> Result<Vec<Contribution>, RestClientError> {
        let mut all: Vec<Contribution> = Vec::new();
        loop {
            let after = all.last().map_or(Seq::ZERO, |row| row.seq);
            let path = format!("/raids/{raid}/contributions?after={after}&limit={PAGE_ROWS}");
            let page: Vec<Contribution> = self.request(Method::GET, &path, None, None).await?;
            let full =
                page.len() as u64 == PAGE_ROWS && page.last().is_some_and(|row| row.seq > after);
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }

    /// Returns whether the home server reports that it is ready (`GET /readyz`).
    pub async fn is_ready(&self) -> bool {
        let url = self.targets.get(self.targets.home()).url("/readyz");
        let Ok(request) = Request::get(url).body(Full::default()) else {
            return false;
        };
        let response = self.http.send(request).await;
        response.is_ok_and(|(status, _)| status.is_success())
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: Option<&OpKey>,
    ) -> Result<T, RestClientError> {
        let until = Instant::now() + self.retry_timeout;
        let mut server = self.targets.home();
        let mut unresponsive = 0;
        loop {
            let error = match self
                .try_once(server, method.clone(), path, body.as_ref(), key)
                .await
            {
                Err(error) if error.is_retryable() => error,
                result => return result,
            };
            if error.is_retryable_elsewhere() {
                server = self.targets.next_after(server);
            }
            let mut pause = RETRY_PAUSE;
            if let RestClientError::Refused { body, .. } = &error {
                pause = body
                    .retry_after_ms
                    .map_or(pause, Duration::from_millis)
                    .min(RETRY_PAUSE_MAX);
            } else {
                unresponsive += 1;
                if unresponsive < self.targets.count() {
                    continue;
                }
            }
            if Instant::now() + RETRY_PAUSE >= until {
                return Err(error);
            }
            unresponsive = 0;
            sleep(pause).await;
        }
    }

    async fn try_once<T: DeserializeOwned>(
        &self,
        server: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&OpKey>,
    ) -> Result<T, RestClientError> {
        let what = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let url = self.targets.get(server).url(&format!("/api/v1{path}"));
        let mut request = Request::builder().method(method).uri(url);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key.as_str());
        }
        let body = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        let response = match request.body(body) {
            Ok(request) => self.http.send(request).await,
            Err(invalid) => Err(invalid.into()),
        };
        match response {
            Ok((status, body)) => parse_response(what, status, &body),
            Err(why) => Err(RestClientError::NoResponse { what, why }),
        }
    }
}

fn parse_response<T: DeserializeOwned>(
    what: String,
    status: StatusCode,
    bytes: &Bytes,
) -> Result<T, RestClientError> {
    let unexpected = |what, why: serde_json::Error| {
        let start: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
        RestClientError::UnexpectedResponse {
            what,
            status: status.as_u16(),
            text: format!("{why}: {start}"),
        }
    };
    if status.is_success() {
        return match serde_json::from_slice::<Data<T>>(bytes) {
            Ok(response) => Ok(response.data),
            Err(why) => Err(unexpected(what, why)),
        };
    }
    match serde_json::from_slice::<ErrorEnvelope>(bytes) {
        Ok(failure) => Err(RestClientError::Refused {
            what,
            status: status.as_u16(),
            body: failure.error,
        }),
        Err(why) => Err(unexpected(what, why)),
    }
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("protocol types have text keys only")
}
