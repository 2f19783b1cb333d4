//! A disk that is full, under SQLite: nothing is acknowledged that is not in the database, every
//! failure may be retried, and `/readyz` shows it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::process::{TestDatabase, TestServer};
use crate::with_timeout;

/// Enough for the schema and some writes, and less than the write-ahead log takes before it is
/// copied into the database.
const FILE_KIB_MAX: u64 = 2_048;

struct RestCaller {
    server_url: String,
    client: reqwest::Client,
}

impl RestCaller {
    fn new(server: &TestServer) -> RestCaller {
        RestCaller {
            server_url: server.target().url("/api/v1"),
            client: reqwest::Client::new(),
        }
    }

    /// Returns the response's body, or `None` for an error that may be retried. Panics at any other
    /// response.
    async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Option<Value> {
        let mut request = self.client.post(format!("{}{path}", self.server_url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.json(&body).send().await.expect("a response");
        let status = response.status();
        let body: Value = response.json().await.expect("a body");
        match status.as_u16() {
            200 | 201 => Some(body["data"].clone()),
            503 if body["error"]["type"] == "unavailable" && body["error"]["retry"] == true => None,
            _ => panic!("{path}: {status} {body}"),
        }
    }

    async fn name(&self, token: &str) -> String {
        let request = self.client.get(format!("{}/me", self.server_url));
        let response = request.bearer_auth(token).send().await.expect("a response");
        let body: Value = response.json().await.expect("a body");
        body["data"]["name"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_none_that_was_acknowledged() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start_with_file_size_max(FILE_KIB_MAX, &[]).await;
        let caller = RestCaller::new(&server);
        let mut tokens = Vec::new();
        let mut failures = 0;
        let mut raids = Vec::new();
        for number in 0.. {
            let guest = json!({ "name": format!("guest {number}") });
            let Some(guest) = caller.post("/auth/guest", None, guest).await else {
                failures += 1;
                if failures > 20 {
                    break;
                }
                continue;
            };
            let token = guest["access_token"].as_str().expect("a token").to_owned();
            let raid = json!({
                "title": "Kitchen", "target_xp": 100, "target_tasks": 1, "time_limit_secs": 3600
            });
            if let Some(raid) = caller.post("/raids", Some(&token), raid).await {
                raids.push((raid["id"].as_u64().expect("an id"), token.clone()));
            }
            tokens.push((number, token));
        }
        assert!(
            tokens.len() > 5 && raids.len() > 5,
            "{} guests",
            tokens.len()
        );
        while server.health().await.ready {
            sleep(Duration::from_millis(50)).await;
        }
        assert_ne!(server.health().await.store, "ok");
        let lines = server.logs().lines().count();
        assert!(lines < 300, "{lines} lines of log");
        server.kill().await;

        let mut server = database.start().await;
        let caller = RestCaller::new(&server);
        for (number, token) in &tokens {
            assert_eq!(caller.name(token).await, format!("guest {number}"));
        }
        for (raid, token) in &raids {
            let request = caller
                .client
                .get(format!("{}/raids/{raid}", caller.server_url));
            let response = request.bearer_auth(token).send().await.expect("a response");
            assert_eq!(response.status().as_u16(), 200, "raid {raid}");
        }
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(20)).await, Some(0));
        // A clean stop leaves all content in the one file.
        let log = database.path().join("raidhall.db-wal");
        let left = log.metadata().map_or(0, |log| log.len());
        assert_eq!(left, 0, "bytes in the write-ahead log");
    })
    .await;
}
