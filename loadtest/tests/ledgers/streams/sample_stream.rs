//! A valid case of one player with two devices, which the tests forge.

use raidhall_loadtest::client_log::{LogEntry, Moment, Observation, StreamLog};
use raidhall_loadtest::fold::StreamFold;
use raidhall_loadtest::judge::{
    Grant, StreamCase, StreamRecord, StreamVerdict, StreamViolationKind, expected_effects,
    judge_players,
};
use raidhall_protocol::player::message::Me;
use raidhall_protocol::player::{
    PlayerCommand, PlayerEvent, PlayerEventData, PlayerMessage, PlayerRequest, PlayerState,
};
use raidhall_protocol::rest::{PlayerStateAt, Profile};
use raidhall_protocol::{ClientMessage, Seq, ServerMessage, UnixMillis};

pub(crate) use super::sample_events::*;
use crate::sample_case::{op, player, raid, received};

/// Where a message is put into the phone's log before the run settles.
pub(crate) const PHONE_END: usize = 18;
/// The same in the laptop's log.
pub(crate) const LAPTOP_END: usize = 20;

pub(crate) fn stream_message(message: PlayerMessage) -> Observation {
    received(ServerMessage::Player(message))
}

pub(crate) fn told(event: &PlayerEvent) -> Observation {
    stream_message(PlayerMessage::Event {
        player: player(6),
        event: Box::new(event.clone()),
    })
}

pub(crate) fn sent(request: PlayerRequest) -> Observation {
    Observation::Sent(ClientMessage::Player(request))
}

pub(crate) fn watch(since: Option<u64>) -> Observation {
    sent(PlayerRequest::Watch {
        id: None,
        player: Me::Me,
        since: since.map(Seq),
    })
}

pub(crate) fn watching(seq: u64) -> Observation {
    stream_message(PlayerMessage::Watching {
        id: None,
        player: player(6),
        seq: Seq(seq),
        recovered: true,
    })
}

pub(crate) fn state_at(seq: usize) -> PlayerState {
    let mut fold = StreamFold::of_new_player(&ben());
    for event in &stream()[..seq] {
        fold.apply(event).unwrap();
    }
    fold.state().unwrap().clone()
}

pub(crate) fn snapshot(seq: usize) -> Observation {
    stream_message(PlayerMessage::Snapshot {
        id: None,
        player: player(6),
        seq: Seq(seq as u64),
        recovered: false,
        state: Box::new(state_at(seq)),
    })
}

pub(crate) fn set(id: u64, key: &str) -> Observation {
    sent(PlayerRequest::Do {
        id,
        player: Me::Me,
        op: op(key),
        cmd: PlayerCommand::SetSetting {
            key: "app.n".to_owned(),
            value: key.into(),
            if_version: None,
        },
    })
}

pub(crate) fn ack(id: u64, seq: u64) -> Observation {
    stream_message(PlayerMessage::Ack {
        id,
        player: player(6),
        seq: Seq(seq),
        duplicate: false,
    })
}

pub(crate) fn connected() -> Observation {
    crate::sample_case::connected_entry()
}

pub(crate) fn settled(head: u64) -> Observation {
    Observation::Settled {
        head: Seq(head),
        online: Vec::new(),
    }
}

/// Ben's stream and the logs of his devices. Tests forge any part of them.
pub(crate) struct StreamSample {
    pub(crate) stream: Vec<PlayerEvent>,
    pub(crate) states: Vec<PlayerStateAt>,
    pub(crate) profile: Profile,
    pub(crate) phone: Vec<Observation>,
    pub(crate) laptop: Vec<Observation>,
    pub(crate) grants: Vec<Grant>,
}

impl StreamSample {
    pub(crate) fn valid() -> StreamSample {
        let events = stream();
        let told_from = |first: usize| events[at(first)..].iter().map(told);
        let mut phone = vec![
            connected(),
            watch(None),
            snapshot(1),
            set(1, "k1"), // 3
            told(&events[at(2)]),
            ack(1, 2), // 5
        ];
        phone.extend(told_from(3));
        phone.push(settled(END));
        let mut laptop = vec![
            connected(),
            watch(None),
            snapshot(1),
            told(&events[at(2)]),
            told(&events[at(3)]), // 4
            crate::sample_case::DISCONNECTED,
            connected(),
            watch(Some(3)), // 7
            watching(END),
        ];
        laptop.extend(told_from(4));
        laptop.push(settled(END));
        let state = PlayerStateAt {
            seq: Seq(END),
            state: state_at(END as usize),
        };
        StreamSample {
            stream: events,
            states: vec![state.clone(), state],
            profile: Profile {
                id: player(6),
                name: "Ben".to_owned(),
                xp: 430,
                tasks: 2,
                raids_won: 1,
                created_at: UnixMillis(1),
            },
            phone,
            laptop,
            grants: Vec::new(),
        }
    }

    /// Adds events without a cause to the end of the stream, the states and the devices.
    pub(crate) fn append(&mut self, events: Vec<PlayerEventData>) {
        let mut fold = StreamFold::default();
        fold.replace(Seq(END), state_at(END as usize));
        for device in [&mut self.phone, &mut self.laptop] {
            device.pop();
        }
        for data in events {
            let event = PlayerEvent {
                seq: fold.seq().next(),
                at: self.stream[at(ENDED)].at,
                cause: None,
                data,
            };
            fold.apply(&event).unwrap();
            for device in [&mut self.phone, &mut self.laptop] {
                device.push(told(&event));
            }
            self.stream.push(event);
        }
        for device in [&mut self.phone, &mut self.laptop] {
            device.push(settled(fold.seq().0));
        }
        for shown in &mut self.states {
            shown.seq = fold.seq();
            shown.state = fold.state().unwrap().clone();
        }
    }

    pub(crate) fn judge(self) -> StreamVerdict {
        let case = self.into_case();
        judge_players(&[case], &expected_effects(raid(), &ledger()))
    }

    pub(crate) fn into_case(self) -> StreamCase {
        let log = |client: &str, observations: Vec<Observation>| StreamLog {
            client: client.to_owned(),
            player: player(6),
            entries: observations
                .into_iter()
                .enumerate()
                .map(|(index, observation)| LogEntry {
                    at: Moment(index as u64 * 1_000_000),
                    observation,
                })
                .collect(),
        };
        StreamCase {
            record: StreamRecord {
                player: ben(),
                events: self.stream,
                states: self.states,
                profile: Some(self.profile),
            },
            devices: vec![log("phone", self.phone), log("laptop", self.laptop)],
            grants: self.grants,
        }
    }
}

/// Returns the violations of the sample after a test has forged it, each with its device.
pub(crate) fn find(forge: impl FnOnce(&mut StreamSample)) -> Vec<(String, StreamViolationKind)> {
    let mut sample = StreamSample::valid();
    forge(&mut sample);
    let violations = sample.judge().violations;
    violations
        .into_iter()
        .map(|it| (it.client, it.kind))
        .collect()
}

/// Asserts that the judge finds this violation of a device, and no other.
#[track_caller]
pub(crate) fn assert_only(
    client: &str,
    kind: StreamViolationKind,
    forge: impl FnOnce(&mut StreamSample),
) {
    assert_eq!(find(forge), [(client.to_owned(), kind)]);
}
