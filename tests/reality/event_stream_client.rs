//! A client of event streams (Server-Sent Events).

use std::time::Duration;

use raidhall_loadtest::target::Target;
use raidhall_protocol::RaidId;
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::timeout;

/// How long any expected response or event may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamEvent {
    pub event: String,
    pub id: Option<u64>,
    pub retry: Option<u64>,
    pub data: Value,
}

pub struct EventStreamClient {
    response: Response,
    buffer: Vec<u8>,
    /// Comment lines, which carry no event.
    pub comment_count: usize,
    /// Every event received, in order.
    pub received: Vec<StreamEvent>,
}

/// Requests the stream of a raid. `query` begins with `?`, and `last` is the id to resume after.
pub async fn request_stream(
    target: &Target,
    raid: RaidId,
    query: &str,
    last: Option<&str>,
    token: &str,
) -> Response {
    request_path(target, &format!("raids/{raid}/stream{query}"), last, token).await
}

/// Requests the stream of the token's player.
pub async fn request_player_stream(target: &Target, last: Option<&str>, token: &str) -> Response {
    request_path(target, "me/stream", last, token).await
}

async fn request_path(target: &Target, path: &str, last: Option<&str>, token: &str) -> Response {
    let client = Client::builder().no_proxy().build().expect("a client");
    let mut request = client
        .get(target.url(&format!("/api/v1/{path}")))
        .bearer_auth(token);
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    timeout(PATIENCE, request.send())
        .await
        .expect("in time")
        .expect("an answer")
}

impl EventStreamClient {
    /// Opens a stream that resumes after `last`, or starts with a snapshot.
    pub async fn open(
        target: &Target,
        raid: RaidId,
        last: Option<u64>,
        token: &str,
    ) -> EventStreamClient {
        let last = last.map(|last| last.to_string());
        Self::from_response(request_stream(target, raid, "", last.as_deref(), token).await)
    }

    pub fn from_response(response: Response) -> EventStreamClient {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        EventStreamClient {
            response,
            buffer: Vec::new(),
            comment_count: 0,
            received: Vec::new(),
        }
    }

    /// Returns the next event; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                match self.parse_block(std::str::from_utf8(&block).expect("text")) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await;
            match chunk.unwrap_or_else(|_| panic!("silence after {}", self.summary())) {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    fn parse_block(&mut self, block: &str) -> Option<StreamEvent> {
        let mut event = StreamEvent::default();
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').expect("a field");
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comment_count += 1,
                "event" => event.event = value.to_owned(),
                "id" => event.id = Some(value.parse().expect("a seq")),
                "retry" => event.retry = Some(value.parse().expect("milliseconds")),
                "data" => event.data = serde_json::from_str(value).expect("JSON"),
                other => panic!("an unknown field {other}"),
            }
        }
        if event.event.is_empty() {
            return None;
        }
        self.received.push(event.clone());
        Some(event)
    }

    /// Reads on to the first event that matches.
    pub async fn wait_for(&mut self, matches: impl Fn(&StreamEvent) -> bool) -> StreamEvent {
        loop {
            let event = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the stream ended after {}", self.summary()));
            if matches(&event) {
                return event;
            }
        }
    }

    /// Describes the latest events in short.
    fn summary(&self) -> String {
        let last = self
            .received
            .iter()
            .rev()
            .take(5)
            .map(|event| format!("{} {:?}", event.event, event.id));
        format!(
            "{} events, the last ones {:?}",
            self.received.len(),
            last.collect::<Vec<_>>()
        )
    }

    /// Reads on to the end of the stream.
    pub async fn read_to_end(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Returns the ledger events received, as rows of the ledger, in order.
    pub fn ledger_rows(&self) -> Vec<Value> {
        let events = self
            .received
            .iter()
            .filter(|event| event.data["t"] == "event");
        events
            .map(|event| {
                assert_eq!(
                    (event.data["seq"].as_u64(), event.data["type"].as_str()),
                    (event.id, Some(&*event.event))
                );
                let mut row = event.data.clone();
                let fields = row.as_object_mut().expect("a map");
                fields.remove("t");
                fields.remove("raid");
                row
            })
            .collect()
    }
}
