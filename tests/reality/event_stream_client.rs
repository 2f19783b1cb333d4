//! A client of Server-Sent Events.

use std::time::Duration;

use raidhall_loadtest::target::Target;
use raidhall_protocol::RaidId;
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::timeout;

/// How long anything that must come may take.
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
    /// Lines that nobody shows.
    pub comment_count: usize,
    /// Everything that came, first to last.
    pub received: Vec<StreamEvent>,
}

/// Asks for a stream; `query` begins with `?`, and `last` is the id to go on from.
pub async fn request_stream(
    target: &Target,
    raid: RaidId,
    query: &str,
    last: Option<&str>,
    token: &str,
) -> Response {
    let client = Client::builder().no_proxy().build().expect("a client");
    let mut request = client
        .get(target.url(&format!("/api/v1/raids/{raid}/stream{query}")))
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
    /// Listens from where the client is, or from the beginning.
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

    /// The next event; none when the stream is over.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                match self.parse_block(std::str::from_utf8(&block).expect("text")) {
                    Some(told) => return Some(told),
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
        let mut told = StreamEvent::default();
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').expect("a field");
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comment_count += 1,
                "event" => told.event = value.to_owned(),
                "id" => told.id = Some(value.parse().expect("a seq")),
                "retry" => told.retry = Some(value.parse().expect("milliseconds")),
                "data" => told.data = serde_json::from_str(value).expect("JSON"),
                other => panic!("an unknown field {other}"),
            }
        }
        if told.event.is_empty() {
            return None;
        }
        self.received.push(told.clone());
        Some(told)
    }

    /// Reads on to the event that is meant.
    pub async fn wait_for(&mut self, meant: impl Fn(&StreamEvent) -> bool) -> StreamEvent {
        loop {
            let told = self
                .next()
                .await
                .unwrap_or_else(|| panic!("over after {}", self.summary()));
            if meant(&told) {
                return told;
            }
        }
    }

    /// What came last, in short.
    fn summary(&self) -> String {
        let last = self
            .received
            .iter()
            .rev()
            .take(5)
            .map(|told| format!("{} {:?}", told.event, told.id));
        format!(
            "{} events, the last ones {:?}",
            self.received.len(),
            last.collect::<Vec<_>>()
        )
    }

    /// Reads on to the end.
    pub async fn read_to_end(&mut self) {
        while self.next().await.is_some() {}
    }

    /// The events of the ledger that came, as the ledger's rows, first to last.
    pub fn ledger_rows(&self) -> Vec<Value> {
        let events = self
            .received
            .iter()
            .filter(|told| told.data["t"] == "event");
        events
            .map(|told| {
                assert_eq!(
                    (told.data["seq"].as_u64(), told.data["type"].as_str()),
                    (told.id, Some(&*told.event))
                );
                let mut row = told.data.clone();
                let fields = row.as_object_mut().expect("a map");
                fields.remove("t");
                fields.remove("raid");
                row
            })
            .collect()
    }
}
