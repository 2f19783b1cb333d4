//! An owner that is frozen beyond the end of its lease.

use std::sync::Arc;
use std::time::Duration;

use raidhall::store::{
    Append, ClaimOutcome, CommitOutcome, InstanceId, InstanceRecord, LedgerEvent, RaidHeader, Store,
};
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{
    ClientMessage, Codec, Command, ErrorType, Event, EventData, RaidId, Seq, ServerMessage,
};
use rustix::process::Signal;
use tokio::time::sleep;
use uuid::Uuid;

use crate::process::TestDatabase;
use crate::proxy::Direction::ToServer;
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::{TestSocket, command_result, event_seq};
use crate::with_timeout;

const TTL: Duration = Duration::from_secs(3);

/// Another instance, which takes a raid over and writes one event.
struct TakeoverInstance {
    store: Arc<dyn Store>,
    instance: InstanceRecord,
}

impl TakeoverInstance {
    /// Registers the instance, waiting until the former owner's lease and lock are gone.
    async fn register(database: &TestDatabase) -> TakeoverInstance {
        let id = InstanceId(Uuid::now_v7());
        let instance = InstanceRecord {
            id,
            ws_url: "ws://127.0.0.1:1/api/v1/ws".into(),
            release: "0.0.0".into(),
            draining: false,
        };
        let store = database.store().await;
        store
            .register(&instance, TTL, Duration::from_secs(20))
            .await
            .expect("register");
        TakeoverInstance { store, instance }
    }

    async fn take_over(&self, raid: RaidId) -> Seq {
        let claims = self
            .store
            .claim(&[raid], self.instance.id)
            .await
            .expect("claim");
        let [ClaimOutcome::Acquired(epoch)] = claims[..] else {
            panic!("the raid is still held: {claims:?}")
        };
        let loaded = self
            .store
            .load(raid, 0)
            .await
            .expect("load")
            .expect("a raid");
        let last = loaded.tail.last().expect("events").clone();
        let seq = loaded.head.last_seq.next();
        let data = EventData::Said {
            text: "the successor's".into(),
        };
        let header = RaidHeader {
            status: RaidStatus::Recruiting,
            deadline: None,
            current_xp: 0,
            current_tasks: 0,
            ended_at: None,
        };
        let append = Append {
            raid,
            created_month: loaded.created_month,
            owner: self.instance.id,
            epoch,
            events: vec![LedgerEvent {
                event: Event { seq, data, ..last },
                op: None,
            }],
            header,
            creation: None,
        };
        assert_eq!(
            self.store.commit(&[append]).await.expect("commit"),
            [CommitOutcome::Committed]
        );
        seq
    }

    async fn renew_lease(&self) {
        self.store.renew(&self.instance, TTL).await.expect("renew");
    }

    async fn deregister(self) {
        self.store
            .deregister(self.instance.id)
            .await
            .expect("retire");
    }
}

#[tokio::test]
async fn an_owner_that_wakes_after_a_takeover_is_fenced_and_exits() {
    with_timeout(async {
        let database = TestDatabase::proxied().await;
        let mut server = database.start().await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(2)).await;
        let raid = group.raid;
        let ada_token = group.add_member().await.access_token;
        let bob_token = group.add_member().await.access_token;
        let mut ada = TestSocket::connect_authenticated(server.target(), Codec::Json, &ada_token).await;
        let mut bob =
            TestSocket::connect_authenticated(server.target(), Codec::MessagePack, &bob_token).await;
        bob.watch(raid, None).await;
        let before = ada.say(raid, "before").await;
        bob.wait_for(event_seq).await;

        // The commit is decided and sent, and has not arrived: then the owner freezes.
        database.proxy().hold(&[ToServer]);
        let number = ada
            .send_command(
                raid,
                Some("zombie"),
                Command::Say {
                    text: "zombie".into(),
                },
            )
            .await;
        sleep(Duration::from_millis(300)).await;
        server.signal(Signal::STOP);
        let successor = TakeoverInstance::register(&database).await;
        let taken = successor.take_over(raid).await;
        assert_eq!(taken, before.next());
        database.proxy().release();
        sleep(Duration::from_millis(300)).await;
        server.signal(Signal::CONT);

        let error = ada
            .wait_for_result(number)
            .await
            .expect_err("its write is refused");
        assert_eq!((error.r#type, error.retry), (ErrorType::Unavailable, true));
        // The successor has the database now: the former owner disconnects its clients and exits.
        let ended = async { server.exit_code(Duration::from_secs(30)).await };
        let renewing = async {
            loop {
                successor.renew_lease().await;
                sleep(Duration::from_millis(200)).await;
            }
        };
        let code =
            tokio::select! { biased; code = ended => code, () = renewing => unreachable!("the lease is renewed until the owner exits") };
        assert_eq!(code, Some(69));
        for socket in [&mut ada, &mut bob] {
            assert_eq!(socket.wait_for_close().await.code, Some(4200));
        }
        assert_eq!(
            bob.received_seqs(),
            [before.0],
            "no uncommitted event was sent"
        );
        successor.deregister().await;

        let server = database.start().await;
        let mut ada = TestSocket::connect_authenticated(server.target(), Codec::Json, &ada_token).await;
        let mut bob =
            TestSocket::connect_authenticated(server.target(), Codec::MessagePack, &bob_token).await;
        assert!(bob.watch(raid, Some(before)).await.1);
        let again = ada
            .execute(
                raid,
                Some("zombie"),
                Command::Say {
                    text: "zombie".into(),
                },
            )
            .await;
        let seq = taken.next();
        assert_eq!(again, Ok((seq, false)));
        while bob.received_seqs().last() != Some(&seq.0) {
            bob.wait_for(event_seq).await;
        }
        assert_eq!(
            bob.received_seqs(),
            [taken.0, seq.0],
            "the successor's event is among them"
        );
        let ledger = database
            .store()
            .await
            .events(raid, Seq::ZERO, 100)
            .await
            .expect("the ledger");
        assert!(
            ledger
                .iter()
                .zip(1..)
                .all(|(event, seq)| event.seq == Seq(seq))
                && ledger.len() as u64 == seq.0
        );
    })
    .await;
}

/// The command arrives only after the owner has woken up, so it is decided on an outdated state.
#[tokio::test]
async fn an_owner_that_decides_on_a_stale_state_is_fenced_and_reloads() {
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let server = database.start().await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let raid = group.raid;
        let ada = group.add_member().await.access_token;
        let mut ada = TestSocket::connect_authenticated(server.target(), Codec::Json, &ada).await;
        ada.watch(raid, None).await;
        let before = ada.say(raid, "before").await;

        server.signal(Signal::STOP);
        let successor = TakeoverInstance::register(&database).await;
        let taken = successor.take_over(raid).await;
        successor.deregister().await;
        let number = ada
            .send_command(
                raid,
                Some("late"),
                Command::Say {
                    text: "late".into(),
                },
            )
            .await;
        server.signal(Signal::CONT);

        let mut answer = ada
            .wait_for(|message| command_result(message, number))
            .await;
        while let Err(error) = answer {
            assert_eq!((error.r#type, error.retry), (ErrorType::Unavailable, true));
            sleep(Duration::from_millis(100)).await;
            answer = ada
                .execute(
                    raid,
                    Some("late"),
                    Command::Say {
                        text: "late".into(),
                    },
                )
                .await;
        }
        assert_eq!(answer, Ok((taken.next(), false)));
        assert_eq!(ada.received_seqs(), [before.0, taken.0, taken.0 + 1]);
    })
    .await;
}

/// Between its waking and the renewal of its lease, an owner cannot know what it missed: it must
/// not answer from memory.
#[tokio::test]
async fn an_owner_that_wakes_shows_no_state_from_before_its_sleep() {
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let server = database.start().await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let raid = group.raid;
        let token = group.add_member().await.access_token;
        let mut watcher =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        let mut late =
            TestSocket::connect_authenticated(server.target(), Codec::Json, &token).await;
        watcher.watch(raid, None).await; // keeps the session alive
        watcher.say(raid, "before").await;

        server.signal(Signal::STOP);
        let successor = TakeoverInstance::register(&database).await;
        let taken = successor.take_over(raid).await;
        successor.deregister().await;
        late.send(ClientMessage::Watch {
            id: None,
            raid,
            since: None,
        })
        .await;
        server.signal(Signal::CONT);
        let shown = loop {
            let shown = late.wait_for(|message| match message {
                ServerMessage::Snapshot { seq, .. } => Some(Some(*seq)),
                ServerMessage::Error { .. } => Some(None),
                _ => None,
            });
            if let Some(seq) = shown.await {
                break seq;
            }
            sleep(Duration::from_millis(100)).await;
            late.send(ClientMessage::Watch {
                id: None,
                raid,
                since: None,
            })
            .await;
        };
        assert!(shown >= taken, "shown {shown} when {taken} was committed");
    })
    .await;
}
