//! Random raids, played by the rules from a seed, with which tests fill a store before an export.

use std::collections::BTreeSet;
use std::time::Duration;

use raidhall::raid::{Context, Quotas, RaidCommand, State, apply, decide, stored};
use raidhall::store::{
    Append, CommitOutcome, CreationTerms, Epoch, FamilyId, InstanceId, InstanceRecord, LedgerEvent,
    Month, OpHash, RaidHeader, Store, TokenHash,
};
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{Command, OpKey, PlayerId, RaidId, UnixMillis};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::stream_generator::fill_stream;

const LEASE_TTL: Duration = Duration::from_secs(3_600);

/// The present time, for calls that take one.
pub const NOW: UnixMillis = UnixMillis(1_767_225_600_000);
const START_TIME: UnixMillis = UnixMillis(1_700_000_000_000);
const DAY_MS: i64 = 86_400_000;

/// Fills a store with raids of several months, with `acts` attempted commands in each, and with streams
/// of the first four players. Returns the players.
pub async fn fill_store(store: &dyn Store, raids: u32, acts: u32, seed: u64) -> Vec<PlayerRef> {
    let id = InstanceId(Uuid::now_v7());
    let instance = InstanceRecord {
        id,
        ws_url: "ws://here".into(),
        release: "0".into(),
        draining: false,
    };
    store
        .register(&instance, LEASE_TTL, LEASE_TTL)
        .await
        .expect("register");
    let mut players = Vec::new();
    for name in ["Ada", "Zoë \"quote\" \\ 🔥", "Поля́", "d", "e", "\u{202e}f"] {
        let player = store.create_player(name).await.expect("a player");
        let family = FamilyId(Uuid::now_v7());
        let token = TokenHash([7; 32]);
        store
            .create_token_family(family, player.id, token, NOW, LEASE_TTL)
            .await
            .expect("sign in");
        players.push(PlayerRef {
            id: player.id,
            name: player.name,
        });
    }
    let mut chance = StdRng::seed_from_u64(seed);
    for raid in store.reserve_raid_ids(raids).await.expect("ids") {
        let raid = RaidId::try_from(raid).expect("an id");
        if raid.get() % 4 == 3 {
            let body = format!("# \"{raid}\" 🔥\n\t");
            store.apply_definitions(&body).await.expect("apply");
        }
        RaidGenerator::new(raid, id, &players, &mut chance)
            .play(store, acts)
            .await;
    }
    store.deregister(id).await.expect("deregister");
    for (player, share) in players.iter().zip([8, 1, 1, 1]) {
        fill_stream(store, player, share * acts / 4 + 2, &mut chance).await;
    }
    players
}

struct RaidGenerator<'g> {
    raid: RaidId,
    owner: InstanceId,
    created_month: Month,
    now: UnixMillis,
    state: State,
    players: &'g [PlayerRef],
    rng: &'g mut StdRng,
}

impl<'g> RaidGenerator<'g> {
    fn new(
        raid: RaidId,
        owner: InstanceId,
        players: &'g [PlayerRef],
        rng: &'g mut StdRng,
    ) -> RaidGenerator<'g> {
        let now = START_TIME.plus(rng.random_range(0..120) * DAY_MS);
        RaidGenerator {
            raid,
            owner,
            created_month: Month::from_unix_millis(now),
            now,
            state: State::new(raid),
            players,
            rng,
        }
    }

    async fn play(mut self, store: &dyn Store, acts: u32) {
        let created = self.creation_command();
        let key = self.rng.random_bool(0.5).then(|| OpHash(self.rng.random()));
        self.commit(store, &created, key).await;
        for act in 0..acts {
            self.now = self.now.plus(self.rng.random_range(0..60_000));
            let command = self.random_command();
            self.commit(store, &command, None).await;
            if act == acts / 2 && self.rng.random_bool(0.7) {
                let seq = self.state.seq();
                let state = stored::encode(&self.state);
                store
                    .save_snapshot(self.raid, self.owner, Epoch(1), seq, &state)
                    .await
                    .expect("a snapshot");
            }
        }
    }

    fn creation_command(&mut self) -> RaidCommand {
        let raid = NewRaid {
            title: format!("Raid \"{}\" ☂", self.raid),
            description: self.rng.random_bool(0.5).then(|| "two\u{a0}words".into()),
            target_xp: self.rng.random_range(50..500),
            target_tasks: 2,
            time_limit_secs: Some(86_400),
            max_members: Some(5),
            late_join: Some(true),
            ranked: Some(self.rng.random_bool(0.2)),
        };
        let invite_code = format!("T{:0>7}", self.raid);
        RaidCommand::Create {
            leader: self.random_player(),
            invite_code,
            raid,
        }
    }

    fn random_command(&mut self) -> RaidCommand {
        let tasks = &self.state.shown().tasks;
        let known = tasks.choose(self.rng).map(|task| task.id);
        let task = known.unwrap_or(self.state.next_task());
        let by = self.random_player().id;
        let other = self.random_player();
        let command = match self.rng.random_range(0..20) {
            0..=2 => return RaidCommand::Join { player: other },
            3 => Command::Leave,
            4 => Command::Promote { player: other.id },
            5..=6 => {
                let command = Command::AddTask {
                    title: "Näh\t?".replace('\t', " "),
                    xp: 40,
                    minutes: 5,
                };
                if self.rng.random_bool(0.3) {
                    return RaidCommand::Service { command };
                }
                command
            }
            7..=8 => Command::ClaimTask { task },
            9 => Command::CompleteTask { task },
            10 => Command::FailTask { task },
            11 => Command::Start,
            16 => Command::EditTask {
                task,
                title: Some("Nähen".into()),
                minutes: self.rng.random_bool(0.5).then_some(6),
            },
            17 => Command::RemoveTask { task },
            18 => Command::Mute {
                player: other.id,
                until: Some(self.now.0 + 60_000),
            },
            19 => Command::RotateInvite,
            12..=13 => {
                let note = self.rng.random_bool(0.5).then(|| "run".to_owned());
                let command = Command::Contribute {
                    player: by,
                    xp: 15,
                    kind: "habit".into(),
                    note,
                };
                return RaidCommand::Service { command };
            }
            _ => Command::Say {
                text: "said {\"so\": [1,2]} 🎲".into(),
            },
        };
        RaidCommand::Player { by, command }
    }

    fn random_player(&mut self) -> PlayerRef {
        self.players[self.rng.random_range(0..self.players.len())].clone()
    }

    async fn commit(
        &mut self,
        store: &dyn Store,
        command: &RaidCommand,
        create_key: Option<OpHash>,
    ) {
        let online = BTreeSet::<PlayerId>::new();
        let new_invite_code = format!("N{:0>7}", self.raid);
        let context = Context {
            now: self.now,
            online: &online,
            new_invite_code: &new_invite_code,
            quotas: Quotas::UNLIMITED,
        };
        let events = match self.state.active_deadline().filter(|due| self.now >= *due) {
            Some(_) => decide(&self.state, &RaidCommand::Deadline, context),
            None => decide(&self.state, command, context),
        };
        let Ok(events) = events else { return };
        if events.is_empty() {
            return;
        }
        for event in &events {
            apply(&mut self.state, event);
        }
        let mut events: Vec<_> = events
            .into_iter()
            .map(|event| LedgerEvent { event, op: None })
            .collect();
        if self.rng.random_bool(0.5) {
            let op = OpKey::try_from(format!("op-{}", self.state.seq())).expect("an op");
            events.last_mut().expect("events").op = Some(OpHash::new("1", &op));
        }
        let shown = self.state.shown();
        let header = RaidHeader {
            status: shown.status,
            deadline: self.state.active_deadline(),
            current_xp: shown.current_xp,
            current_tasks: shown.current_tasks,
            ended_at: shown.ended_at,
        };
        let RaidGenerator {
            raid,
            owner,
            created_month,
            ..
        } = *self;
        let append = Append {
            raid,
            created_month,
            owner,
            epoch: Epoch(1),
            events,
            header,
            creation: create_key.map(|key| CreationTerms {
                key,
                led_raids_max: None,
            }),
        };
        assert_eq!(
            store.commit(&[append]).await.expect("commit"),
            [CommitOutcome::Committed]
        );
    }
}
