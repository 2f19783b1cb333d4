//! The REST doors, as a player uses them.

use std::time::Duration;

use raidhall_protocol::rest::{
    CommandResult, Contribution, Data, NewRaid, Profile, RaidView, TokenPair,
};
use raidhall_protocol::{Command, ErrorBody, Event, OpKey, RaidId, Seq};
use reqwest::{Client, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::target::Target;
use crate::targets::Targets;

const PAGE_ROWS: u64 = 100;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// The REST doors of a server, or of any that answers of several, for one player or for nobody in particular.
#[derive(Debug, Clone)]
pub struct RestClient {
    http: Client,
    targets: Targets,
    token: Option<String>,
    retry_timeout: Duration,
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum RestClientError {
    /// A typed error of the contract.
    #[error("{what}: {} ({status}): {}", .body.r#type.as_str(), .body.message)]
    Refused {
        /// The request.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The error.
        body: ErrorBody,
    },
    /// An answer that is not of the contract.
    #[error("{what}: status {status} with {text:?}")]
    UnexpectedResponse {
        /// The request.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The body's beginning.
        text: String,
    },
    /// No answer.
    #[error("{what}: {why}")]
    NoResponse {
        /// The request.
        what: String,
        /// What broke.
        why: reqwest::Error,
    },
}

impl RestClientError {
    /// Whether the same request may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { body, .. } => body.retry,
            Self::UnexpectedResponse { .. } => false,
            Self::NoResponse { .. } => true,
        }
    }

    /// Whether another server may answer what this one cannot.
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
    /// The doors of a server, signed in as nobody.
    pub fn new(target: &Target) -> anyhow::Result<RestClient> {
        Self::with_targets(Targets::from(*target))
    }

    /// The doors of several servers, signed in as nobody. Asks at home first. A server that gives no answer is not
    /// asked twice while there are others: each request goes round once at once, whatever the patience.
    pub fn with_targets(targets: Targets) -> anyhow::Result<RestClient> {
        // Neither a proxy nor a redirect may lead away from this machine.
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_TIMEOUT)
            .build()?;
        Ok(RestClient {
            http,
            targets,
            token: None,
            retry_timeout: Duration::ZERO,
        })
    }

    /// The same doors with a player's access token.
    pub fn with_token(&self, token: &str) -> RestClient {
        RestClient {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same doors, asking again for so long when the server is away or says `retry`. Only for requests that may
    /// be repeated: all of these are, `create` by its key.
    pub fn with_retry_timeout(&self, patience: Duration) -> RestClient {
        RestClient {
            retry_timeout: patience,
            ..self.clone()
        }
    }

    /// The same doors with another server asked first.
    pub fn with_home(&self, home: usize) -> RestClient {
        RestClient {
            targets: self.targets.with_home(home),
            ..self.clone()
        }
    }

    /// Where they are.
    pub const fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Signs a new guest in.
    pub async fn sign_in_guest(&self, name: &str) -> Result<TokenPair, RestClientError> {
        self.request(
            Method::POST,
            "/auth/guest",
            Some(json!({ "name": name })),
            None,
        )
        .await
    }

    /// The next pair of tokens.
    pub async fn refresh_tokens(&self, refresh_token: &str) -> Result<TokenPair, RestClientError> {
        let body = json!({ "refresh_token": refresh_token });
        self.request(Method::POST, "/auth/refresh", Some(body), None)
            .await
    }

    /// Who the token belongs to, with their totals.
    pub async fn profile(&self) -> Result<Profile, RestClientError> {
        self.request(Method::GET, "/me", None, None).await
    }

    /// Creates a raid; a repeat with the same key is the same raid. Without a key it gets one of its own, since any
    /// of several servers may have made it before it fell silent.
    pub async fn create_raid(
        &self,
        raid: &NewRaid,
        key: Option<&OpKey>,
    ) -> Result<RaidView, RestClientError> {
        let own = OpKey::try_from(format!("create-{}", Uuid::now_v7())).ok();
        self.request(
            Method::POST,
            "/raids",
            Some(to_json(raid)),
            key.or(own.as_ref()),
        )
        .await
    }

    /// Joins a raid.
    pub async fn join_raid(&self, invite_code: &str) -> Result<RaidView, RestClientError> {
        self.request(
            Method::POST,
            "/raids/join",
            Some(json!({ "invite_code": invite_code })),
            None,
        )
        .await
    }

    /// Reads a raid.
    pub async fn raid(&self, raid: RaidId) -> Result<RaidView, RestClientError> {
        self.request(Method::GET, &format!("/raids/{raid}"), None, None)
            .await
    }

    /// Commands by REST.
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

    /// One page of the ledger after a seq: at most `limit` (1–100) events.
    pub async fn events(
        &self,
        raid: RaidId,
        after: Seq,
        limit: u64,
    ) -> Result<Vec<Event>, RestClientError> {
        let path = format!("/raids/{raid}/events?after={after}&limit={limit}");
        self.request(Method::GET, &path, None, None).await
    }

    /// The whole ledger, page by page. Pages that do not go forward end it.
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

    /// All contributions of the ledger, page by page.
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

    /// Whether the server says that it is ready (`GET /readyz`).
    pub async fn is_ready(&self) -> bool {
        let asked = self
            .http
            .get(self.targets.get(self.targets.home()).url("/readyz"))
            .send()
            .await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: Option<&OpKey>,
    ) -> Result<T, RestClientError> {
        let until = Instant::now() + self.retry_timeout;
        let (mut place, mut silent) = (self.targets.home(), 0);
        loop {
            let error = match self
                .try_once(place, method.clone(), path, body.as_ref(), key)
                .await
            {
                Err(error) if error.is_retryable() => error,
                result => return result,
            };
            if error.is_retryable_elsewhere() {
                place = self.targets.next_after(place);
            }
            let mut pause = RETRY_PAUSE;
            if let RestClientError::Refused { body, .. } = &error {
                pause = body
                    .retry_after_ms
                    .map_or(pause, Duration::from_millis)
                    .min(RETRY_PAUSE_MAX);
            } else {
                silent += 1;
                if silent < self.targets.count() {
                    continue;
                }
            }
            if Instant::now() + RETRY_PAUSE >= until {
                return Err(error);
            }
            silent = 0;
            sleep(pause).await;
        }
    }

    async fn try_once<T: DeserializeOwned>(
        &self,
        place: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&OpKey>,
    ) -> Result<T, RestClientError> {
        let what = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let mut request = self.http.request(
            method,
            self.targets.get(place).url(&format!("/api/v1{path}")),
        );
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key.as_str());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let no_answer = |why| RestClientError::NoResponse {
            what: what.clone(),
            why,
        };
        let answer = request.send().await.map_err(no_answer)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(no_answer)?;
        parse_response(what, status, &bytes)
    }
}

fn parse_response<T: DeserializeOwned>(
    what: String,
    status: StatusCode,
    bytes: &[u8],
) -> Result<T, RestClientError> {
    let not_typed = |what, why: serde_json::Error| {
        let start: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
        RestClientError::UnexpectedResponse {
            what,
            status: status.as_u16(),
            text: format!("{why}: {start}"),
        }
    };
    if status.is_success() {
        return match serde_json::from_slice::<Data<T>>(bytes) {
            Ok(answer) => Ok(answer.data),
            Err(why) => Err(not_typed(what, why)),
        };
    }
    match serde_json::from_slice::<ErrorEnvelope>(bytes) {
        Ok(failure) => Err(RestClientError::Refused {
            what,
            status: status.as_u16(),
            body: failure.error,
        }),
        Err(why) => Err(not_typed(what, why)),
    }
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("contract types have text keys only")
}
