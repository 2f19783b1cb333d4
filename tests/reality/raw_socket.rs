//! A WebSocket client at the level of bytes, for input that no library would send.

use std::time::Duration;

use raidhall_loadtest::target::Target;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(20);
const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The headers of a valid upgrade, without a subprotocol.
pub const UPGRADE_HEADERS: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

pub struct RawSocket {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A server's response to an upgrade request.
pub struct UpgradeResponse {
    pub status: u16,
    text: String,
}

impl UpgradeResponse {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl RawSocket {
    /// Connects without sending anything.
    pub async fn connect(target: &Target) -> RawSocket {
        let stream = TcpStream::connect(target.address())
            .await
            .expect("a connection");
        RawSocket {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Reads on to the end of the connection.
    pub async fn read_to_end(&mut self) {
        timeout(TIMEOUT, async { while self.fill_buffer().await {} })
            .await
            .expect("the server hangs up");
    }

    /// Requests an upgrade with these headers; later ones replace earlier ones of the same name.
    pub async fn upgrade(
        target: &Target,
        headers: &[(&str, &str)],
    ) -> (UpgradeResponse, RawSocket) {
        let mut raw = Self::connect(target).await;
        let mut request = format!("GET /api/v1/ws HTTP/1.1\r\nHost: {}\r\n", target.address());
        for (index, (name, value)) in headers.iter().enumerate() {
            if !headers[index + 1..].iter().any(|(later, _)| later == name) {
                request.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        request.push_str("\r\n");
        raw.send_bytes(request.as_bytes()).await;
        (raw.read_upgrade_response().await, raw)
    }

    /// Opens a WebSocket with the given subprotocol.
    pub async fn open(target: &Target, subprotocol: &str) -> RawSocket {
        let headers = [
            &UPGRADE_HEADERS[..],
            &[("Sec-WebSocket-Protocol", subprotocol)],
        ]
        .concat();
        let (head, raw) = Self::upgrade(target, &headers).await;
        assert_eq!(
            (head.status, head.header("sec-websocket-protocol")),
            (101, Some(subprotocol))
        );
        raw
    }

    pub async fn read_upgrade_response(&mut self) -> UpgradeResponse {
        timeout(TIMEOUT, self.read_head()).await.expect("an answer")
    }

    async fn read_head(&mut self) -> UpgradeResponse {
        loop {
            if let Some(head) = self.take_head() {
                return head;
            }
            assert!(
                self.fill_buffer().await,
                "the server closed instead of answering"
            );
        }
    }

    fn take_head(&mut self) -> Option<UpgradeResponse> {
        let end = self
            .buffer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")?;
        let rest = self.buffer.split_off(end + 4);
        let text = String::from_utf8(std::mem::replace(&mut self.buffer, rest)).expect("text");
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        Some(UpgradeResponse {
            status: status.expect("a status"),
            text,
        })
    }

    /// Sends these bytes after each pause until the server responds or closes. Returns the
    /// response, if there was one.
    pub async fn send_slowly(&mut self, bytes: &[u8], pause: Duration) -> Option<UpgradeResponse> {
        loop {
            let read = timeout(pause, self.fill_buffer()).await;
            if let Some(head) = self.take_head() {
                return Some(head);
            }
            if read == Ok(false) {
                return None;
            }
            self.send_bytes(bytes).await;
        }
    }

    /// Sends bytes unchanged. A server that has already closed is no error.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends bytes again and again, reading nothing, until the server closes.
    pub async fn flood(&mut self, bytes: &[u8]) {
        // Bytes buffered by the operating system say nothing about the server.
        SockRef::from(&self.stream)
            .set_send_buffer_size(32 * 1024)
            .expect("a small buffer");
        while self.stream.write_all(bytes).await.is_ok() {}
    }

    /// Sends an unfragmented, masked frame.
    pub async fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        let masked = encode_frame(0x80 | opcode, Some(MASK), payload);
        self.send_bytes(&masked).await;
    }

    /// Returns the next frame; `None` at the end of the connection.
    pub async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(TIMEOUT, self.read_frame()).await.expect("silence")
    }

    /// Reads on to the Close frame, and returns its code.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.next_frame().await {
                Some((CLOSE, payload)) => {
                    return u16::from_be_bytes([payload[0], payload[1]]);
                }
                Some(_) => {}
                None => panic!("the connection ended without a Close frame"),
            }
        }
    }

    async fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((frame, length)) = parse_frame(&self.buffer) {
                self.buffer.drain(..length);
                return Some(frame);
            }
            if !self.fill_buffer().await {
                return None;
            }
        }
    }

    async fn fill_buffer(&mut self) -> bool {
        self.stream
            .read_buf(&mut self.buffer)
            .await
            .is_ok_and(|count| count > 0)
    }
}

/// Encodes a frame with any first byte, masked or not.
pub fn encode_frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(masked | length as u8),
        length @ 126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let mask_bytes = mask.unwrap_or_default();
    bytes.extend(mask.into_iter().flatten());
    bytes.extend(
        payload
            .iter()
            .zip(mask_bytes.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// Returns the first complete frame in a server's bytes, and its length in bytes.
fn parse_frame(bytes: &[u8]) -> Option<((u8, Vec<u8>), usize)> {
    let first = *bytes.first()?;
    let second = *bytes.get(1)?;
    assert_eq!(first & 0xf0, 0x80, "server frames are whole");
    assert_eq!(second & 0x80, 0, "server frames are not masked");
    let (length, start) = match second {
        126 => (
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
            4,
        ),
        127 => (
            u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize,
            10,
        ),
        length => (usize::from(length), 2),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    Some(((first & 0x0f, payload), start + length))
}
