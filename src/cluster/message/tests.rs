use raidhall_protocol::EventData;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{Command, ErrorType, FieldFault, TaskId};
use serde_json::json;

use super::*;
use crate::error::Error;
use crate::raid::Refusal;
use crate::store::OpHash;

fn seal(secret: u8, lineage: &str) -> EnvelopeSealer {
    EnvelopeSealer::new(
        &AuthSecret::new([secret; 32]).expect("long enough"),
        lineage,
    )
}

fn channel() -> Channel {
    Channel::Inbox(InstanceId(Uuid::from_u128(9)))
}

fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).expect("an id")
}

fn envelope(message: ClusterMessage) -> Envelope {
    Envelope {
        from: InstanceId(Uuid::from_u128(1)),
        number: 12,
        at: UnixMillis(1_800_000_000_000),
        raid: RaidId::try_from(7_u64).expect("an id"),
        epoch: Epoch(3),
        seq: Seq(9),
        message,
    }
}

fn messages() -> Vec<ClusterMessage> {
    let event = Event {
        seq: Seq(9),
        at: UnixMillis(1),
        by: Some(player(5)),
        data: EventData::Said {
            text: "hé 🔥".into(),
        },
    };
    let ada = PlayerRef {
        id: player(5),
        name: "Ada".into(),
    };
    let commands = [
        ForwardableCommand::Join(ada),
        ForwardableCommand::Player {
            by: player(5),
            command: Command::Say { text: "x".into() },
        },
        ForwardableCommand::Service(Command::RemoveTask {
            task: TaskId::try_from(3_u64).expect("an id"),
        }),
        ForwardableCommand::End,
    ];
    let items = commands
        .into_iter()
        .map(|wish| ForwardItem {
            op: OpHash([8; 16]),
            wish,
        })
        .collect();
    let answers = vec![
        ForwardReply::Ack {
            seq: Seq(4),
            duplicate: true,
        },
        ForwardReply::Error {
            kind: ErrorType::Invalid,
            fields: vec![FieldFault::new("text", "must have 1 to 500 characters")],
        },
        ForwardReply::NotOwner,
    ];
    vec![
        ClusterMessage::Events(vec![event]),
        ClusterMessage::Owned,
        ClusterMessage::Released,
        ClusterMessage::Presence {
            counter: 4,
            online: vec![player(1), player(2)],
        },
        ClusterMessage::Signal {
            from: player(5),
            kind: "emote".into(),
            data: json!({"emoji": ["🔥", null, 1.5]}),
        },
        ClusterMessage::WatcherReport(WatcherReport {
            watched: true,
            players: vec![player(1)],
            known: vec![],
            draining: true,
        }),
        ClusterMessage::RequestWatcherReport,
        ClusterMessage::Handover(vec![player(3)]),
        ClusterMessage::Forward {
            request: 77,
            remaining_ms: 4_900,
            items,
        },
        ClusterMessage::ForwardReplies {
            request: 77,
            answers,
        },
        ClusterMessage::QueryStatus { request: 78 },
        ClusterMessage::OwnerStatus {
            request: 78,
            online: Some(vec![player(1)]),
        },
        ClusterMessage::OwnerStatus {
            request: 79,
            online: None,
        },
    ]
}

#[test]
fn every_cluster_message_survives_sealing_and_opening() {
    let seal = seal(7, "a");
    for message in messages() {
        let sent = envelope(message);
        assert_eq!(
            seal.open(channel(), &seal.seal(channel(), sent.clone())),
            Ok(sent)
        );
    }
}

#[test]
fn messages_with_a_wrong_secret_lineage_channel_or_byte_are_refused() {
    let ours = seal(7, "a");
    let message = ours.seal(channel(), envelope(ClusterMessage::Owned));
    assert_eq!(
        seal(8, "a").open(channel(), &message),
        Err(EnvelopeError::BadSeal)
    );
    assert_eq!(
        seal(7, "b").open(channel(), &message),
        Err(EnvelopeError::BadSeal)
    );
    let elsewhere = Channel::Inbox(InstanceId(Uuid::from_u128(8)));
    assert_eq!(
        ours.open(elsewhere, &message),
        Err(EnvelopeError::BadSeal),
        "sealed for another instance"
    );
    for index in 0..message.len() {
        let mut changed = message.to_vec();
        changed[index] ^= 1;
        assert_eq!(
            ours.open(channel(), &changed),
            Err(EnvelopeError::BadSeal),
            "byte {index}"
        );
    }
    for length in 0..message.len() {
        assert_eq!(
            ours.open(channel(), &message[..length]),
            Err(EnvelopeError::BadSeal),
            "{length} bytes"
        );
    }
}

#[test]
fn malformed_and_newer_sealed_messages_are_distinguished() {
    let seal = seal(7, "a");
    let sealed = |content: &[u8]| [&seal.tag(channel(), content)[..], content].concat();
    let wire = |v, kind: &str, body: &[u8]| {
        let Envelope {
            from,
            number,
            at,
            raid,
            epoch,
            seq,
            ..
        } = envelope(ClusterMessage::Owned);
        pack(&EncodedEnvelope {
            v,
            kind: kind.to_owned(),
            from: from.0.as_u128(),
            number,
            at,
            raid,
            epoch: epoch.0,
            seq,
            body: Bytes::copy_from_slice(body),
        })
    };
    for content in [
        vec![],
        vec![0xC1],
        wire(1, "no such kind", &[]),
        wire(1, "events", &[0xDD, 255, 255, 255, 255]),
    ] {
        assert_eq!(
            seal.open(channel(), &sealed(&content)),
            Err(EnvelopeError::Malformed)
        );
    }
    let raid = envelope(ClusterMessage::Owned).raid;
    assert_eq!(
        seal.open(channel(), &sealed(&wire(2, "no such kind", &[]))),
        Err(EnvelopeError::NewerVersion { raid })
    );
}

#[test]
fn forwarded_errors_arrive_unchanged() {
    let fields = vec![FieldFault::new("xp", "is too much")];
    for error in [
        Error::Refused(Refusal::Invalid(fields)),
        Error::Refused(Refusal::TaskTaken),
        Error::Refused(Refusal::NotMember),
        Error::Overloaded,
        Error::Unavailable,
        Error::Internal,
        Error::NotOwner,
    ] {
        assert_eq!(
            ForwardReply::from_result(Err(error.clone())).into_result(),
            Err(error)
        );
    }
}

#[test]
fn messages_of_both_secrets_are_accepted_during_a_rotation() {
    let secret = |byte| AuthSecret::new([byte; 32]).expect("long enough");
    let (old, new) = (seal(1, "a"), seal(2, "a"));
    let (before, after) = (
        old.clone().with_accepted_secret(Some(&secret(2)), "a"),
        new.clone().with_accepted_secret(Some(&secret(1)), "a"),
    );
    for (from, to) in [
        (&before, &after),
        (&after, &before),
        (&old, &after),
        (&new, &before),
    ] {
        assert!(
            to.open(
                channel(),
                &from.seal(channel(), envelope(ClusterMessage::Owned))
            )
            .is_ok()
        );
    }
    let stranger = seal(3, "a").seal(channel(), envelope(ClusterMessage::Owned));
    assert_eq!(
        after.open(channel(), &stranger),
        Err(EnvelopeError::BadSeal)
    );
    let restored = seal(1, "b").seal(channel(), envelope(ClusterMessage::Owned));
    assert_eq!(
        after.open(channel(), &restored),
        Err(EnvelopeError::BadSeal)
    );
}
