//! The message that an endpoint receives for an event.

use raidhall_protocol::{Event, EventData, RaidId, UnixMillis};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

/// Kinds of events that are sent as webhooks; the feed has all others too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "named like the events")]
pub enum WebhookEventKind {
    #[serde(rename = "raid.started")]
    RaidStarted,
    #[serde(rename = "raid.completed")]
    RaidCompleted,
    #[serde(rename = "raid.failed")]
    RaidFailed,
    #[serde(rename = "member.joined")]
    MemberJoined,
    /// A member has left or was removed; `reason` in the data says which.
    #[serde(rename = "member.left")]
    MemberLeft,
}

impl WebhookEventKind {
    /// All kinds of webhook events.
    pub const ALL: [WebhookEventKind; 5] = [
        WebhookEventKind::RaidStarted,
        WebhookEventKind::RaidCompleted,
        WebhookEventKind::RaidFailed,
        WebhookEventKind::MemberJoined,
        WebhookEventKind::MemberLeft,
    ];

    /// Returns the webhook kind of an event; `None` if the event is not sent as a webhook.
    pub const fn from_event(data: &EventData) -> Option<WebhookEventKind> {
        match data {
            EventData::RaidStarted { .. } => Some(WebhookEventKind::RaidStarted),
            EventData::RaidCompleted { .. } => Some(WebhookEventKind::RaidCompleted),
            EventData::RaidFailed { .. } => Some(WebhookEventKind::RaidFailed),
            EventData::MemberJoined { .. } => Some(WebhookEventKind::MemberJoined),
            EventData::MemberLeft { .. } => Some(WebhookEventKind::MemberLeft),
            _ => None,
        }
    }

    /// Returns the kind's name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            WebhookEventKind::RaidStarted => "raid.started",
            WebhookEventKind::RaidCompleted => "raid.completed",
            WebhookEventKind::RaidFailed => "raid.failed",
            WebhookEventKind::MemberJoined => "member.joined",
            WebhookEventKind::MemberLeft => "member.left",
        }
    }
}

/// The message to post. The same event always gives the same message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookMessage {
    /// Idempotency key; the same for every attempt.
    pub id: String,
    /// Body of the post, as JSON.
    pub body: Vec<u8>,
}

impl WebhookMessage {
    /// Returns the message of an event in a lineage; `None` if the event is not sent as a webhook.
    pub fn from_event(lineage: &str, raid: RaidId, event: &Event) -> Option<WebhookMessage> {
        let kind = WebhookEventKind::from_event(&event.data)?;
        // A lineage from a restored backup may be any text, but ids go into a header.
        let lineage: String = lineage
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let mut data = json!({ "raid": raid, "seq": event.seq, "at": event.at, "by": event.by });
        let content = serde_json::to_value(&event.data).map(|mut tagged| tagged["data"].take());
        if let (Value::Object(data), Ok(Value::Object(content))) = (&mut data, content) {
            data.extend(content);
        }
        let body = json!({ "type": kind.as_str(), "timestamp": rfc3339(event.at), "data": data });
        Some(WebhookMessage {
            id: format!("{lineage}_{raid}_{}", event.seq),
            body: body.to_string().into_bytes(),
        })
    }
}

/// Formats a time as RFC 3339 in UTC. Times beyond the calendar of [`time`] become 1970-01-01.
fn rfc3339(at: UnixMillis) -> String {
    let whole = OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = whole.to_calendar_date();
    let (hour, minute, second) = whole.to_hms();
    let month = u8::from(month);
    let millis = at.0.rem_euclid(1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::event::LeaveReason;
    use raidhall_protocol::{PlayerId, Seq};

    use super::*;

    fn event(data: EventData) -> Event {
        let by = PlayerId::try_from(5_u64).ok();
        Event {
            seq: Seq(12),
            at: UnixMillis(1_767_225_661_042),
            by,
            data,
        }
    }

    fn raid() -> RaidId {
        RaidId::try_from(7_u64).expect("an id")
    }

    #[test]
    fn a_webhook_message_carries_the_events_seq_and_data() {
        let player = PlayerId::try_from(6_u64).expect("an id");
        let left = EventData::MemberLeft {
            player,
            reason: LeaveReason::Kicked,
            released: Vec::new(),
        };
        let WebhookMessage { id, body } =
            WebhookMessage::from_event("a\nb: c", raid(), &event(left)).expect("a message");
        assert_eq!(id, "abc_7_12");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let data = json!({"raid": 7, "seq": 12, "at": 1_767_225_661_042_i64, "by": 5, "player": 6,
            "reason": "kicked", "released": []});
        let timestamp = "2026-01-01T00:01:01.042Z";
        assert_eq!(
            body,
            json!({"type": "member.left", "timestamp": timestamp, "data": data})
        );
    }

    #[test]
    fn chat_is_not_sent_to_webhooks() {
        assert_eq!(
            WebhookMessage::from_event(
                "abc",
                raid(),
                &event(EventData::Said { text: "hi".into() })
            ),
            None
        );
    }

    #[test]
    fn webhook_kinds_are_configured_by_their_names() {
        for kind in WebhookEventKind::ALL {
            let read: WebhookEventKind =
                serde_json::from_value(json!(kind.as_str())).expect("a kind");
            assert_eq!(read, kind);
        }
    }
}
