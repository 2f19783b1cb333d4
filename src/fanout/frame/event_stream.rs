//! Messages as Server-Sent Events, the `text/event-stream` of WHATWG HTML, section 9.2. The event
//! name is an event's type or another message's `t`; the data is the same JSON that a WebSocket
//! carries.

use bytes::Bytes;
use raidhall_protocol::player::PlayerMessage;
use raidhall_protocol::{CloseCode, Seq, ServerMessage};

/// A comment, which clients ignore; it keeps proxies from closing an idle stream.
pub const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// Returns the last event of a stream that the server ends. Its code is that of a WebSocket close,
/// and says what the client should do.
pub fn close_event(code: CloseCode) -> Bytes {
    let data = serde_json::json!({"code": code.code(), "name": code.as_str()});
    encode_event(
        EventHeader {
            name: "close",
            id: None,
            retry: None,
        },
        data.to_string().as_bytes(),
    )
}

/// The fields of a stream event before its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventHeader {
    name: &'static str,
    /// The seq that the client sends as `Last-Event-ID` when it reconnects.
    id: Option<Seq>,
    /// The client's reconnect delay in milliseconds.
    retry: Option<u64>,
}

impl EventHeader {
    pub(super) const fn from_message(message: &ServerMessage) -> EventHeader {
        let (name, id, retry) = match message {
            ServerMessage::Event { event, .. } => (event.data.kind(), Some(event.seq), None),
            ServerMessage::Snapshot { seq, .. } => (message.t(), Some(*seq), None),
            ServerMessage::Player(PlayerMessage::Event { event, .. }) => {
                (event.data.kind(), Some(event.seq), None)
            }
            ServerMessage::Player(PlayerMessage::Snapshot { seq, .. }) => {
                (message.t(), Some(*seq), None)
            }
            ServerMessage::Bye {
                reconnect_after_ms, ..
            } => (message.t(), None, Some(*reconnect_after_ms)),
            _ => (message.t(), None, None),
        };
        EventHeader { name, id, retry }
    }
}

/// Encodes one event of the stream. The JSON is one line, because JSON escapes line breaks in
/// texts.
pub(super) fn encode_event(header: EventHeader, json: &[u8]) -> Bytes {
    let EventHeader { name, id, retry } = header;
    let mut event = format!("event: {name}\n");
    if let Some(id) = id {
        event += &format!("id: {id}\n");
    }
    if let Some(retry) = retry {
        event += &format!("retry: {retry}\n");
    }
    [event.as_bytes(), b"data: ", json, b"\n\n"].concat().into()
}
