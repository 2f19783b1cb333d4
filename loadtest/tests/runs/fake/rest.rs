//! The fake server's REST API: one request per connection, parsed by hand.

use raidhall_protocol::{PlayerId, RaidId, Seq};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::FakeWorld;

pub(super) async fn serve_request(mut stream: TcpStream, world: &FakeWorld) {
    let Some((head, body)) = read_request(&mut stream).await else {
        return;
    };
    let mut words = head.split_ascii_whitespace();
    let method = words.next().unwrap();
    let target = words.next().unwrap();
    let bearer = |line: &str| {
        line.to_ascii_lowercase()
            .strip_prefix("authorization: bearer ")?
            .parse()
            .ok()
    };
    let token: u64 = head.lines().find_map(bearer).unwrap_or(0);
    let me = || PlayerId::try_from(token).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts: Vec<_> = path
        .trim_start_matches("/api/v1")
        .split('/')
        .skip(1)
        .collect();
    let raid = || RaidId::try_from(parts[1].parse::<u64>().unwrap()).unwrap();
    let after = || {
        Seq(query
            .split('&')
            .find_map(|pair| pair.strip_prefix("after=")?.parse().ok())
            .unwrap_or(0))
    };
    let data = match (method, parts.as_slice()) {
        ("GET", ["readyz"]) => json!({}),
        ("POST", ["auth", "guest"]) => world.sign_in_guest(body["name"].as_str().unwrap()),
        ("GET", ["me"]) => world.profile(me()),
        ("POST", ["raids"]) => world.create(me(), serde_json::from_value(body).unwrap()),
        ("POST", ["raids", "join"]) => world.join(me(), body["invite_code"].as_str().unwrap()),
        ("GET", ["raids", _]) => world.view(raid()),
        ("GET", ["raids", _, "events"]) => world.events(raid(), after()),
        ("GET", ["raids", _, "contributions"]) => world.contributions(raid(), after()),
        _ => panic!("the fake server has no {method} {target}"),
    };
    let answer = json!({ "data": data }).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    let _ = stream.write_all((head + &answer).as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream
            .read(&mut chunk)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = |line: &str| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        };
        let length: usize = head.lines().find_map(length).unwrap_or(0);
        if body.len() >= length {
            return Some((
                head.to_owned(),
                serde_json::from_str(body).unwrap_or(Value::Null),
            ));
        }
    }
}
