//! Messages as Server-Sent Events, the `text/event-stream` of WHATWG HTML, section 9.2: an event by its type, a message
//! of another kind by its `t`, and in both the JSON that a socket carries.

use bytes::Bytes;
use raidhall_protocol::{CloseCode, Seq, ServerMessage};

/// A line that no client shows: it keeps what lies between from taking the stream for dead.
pub const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// The last event of a stream that the server ends: the code of a socket's close tells a client what to do.
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

/// What stands before the data of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventHeader {
    name: &'static str,
    /// What a client comes back with, as `Last-Event-ID`.
    id: Option<Seq>,
    /// When a client comes back, in milliseconds.
    retry: Option<u64>,
}

impl EventHeader {
    pub(super) const fn from_message(message: &ServerMessage) -> EventHeader {
        let (name, id, retry) = match message {
            ServerMessage::Event { event, .. } => (event.data.kind(), Some(event.seq), None),
            ServerMessage::Snapshot { seq, .. } => (message.t(), Some(*seq), None),
            ServerMessage::Bye {
                reconnect_after_ms, ..
            } => (message.t(), None, Some(*reconnect_after_ms)),
            _ => (message.t(), None, None),
        };
        EventHeader { name, id, retry }
    }
}

/// An event of the stream. JSON is one line, whatever its texts hold.
pub(super) fn encode_event(label: EventHeader, json: &[u8]) -> Bytes {
    let EventHeader { name, id, retry } = label;
    let mut event = format!("event: {name}\n");
    if let Some(id) = id {
        event += &format!("id: {id}\n");
    }
    if let Some(retry) = retry {
        event += &format!("retry: {retry}\n");
    }
    [event.as_bytes(), b"data: ", json, b"\n\n"].concat().into()
}
