//! A raid's players, as the load test simulates them: they survive lost connections, write everything down, and are
//! judged in the end.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use raidhall_loadtest::client::{Decoder, Player, PlayerOptions, RestClient};
use raidhall_loadtest::client_log::{ClientLog, Moment, RunClock};
use raidhall_loadtest::judge::{
    PresenceErrors, ServerRecord, StablePeriod, Verdict, check_presence, judge,
};
use raidhall_loadtest::target::Target;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::rest::{NewRaid, TokenPair};
use raidhall_protocol::state::{RaidStatus, Task, TaskStatus};
use raidhall_protocol::{Codec, Command, PlayerId, RaidId, RaidState};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How long anything that must happen may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a player looks up from the socket.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// What claiming a task costs.
const CLAIM_ENERGY: u32 = 10;

/// `raid.presence_grace_ms` of the servers.
const PRESENCE_GRACE: Duration = Duration::from_secs(5);
/// `raid.leader_grace_ms` of the servers.
const LEADER_GRACE: Duration = Duration::from_secs(60);

/// A raid and its players; the first leads.
pub struct RaidGroup {
    pub raid: RaidId,
    pub invite_code: String,
    pub players: Vec<Player>,
    /// What the players' ledgers are written by.
    pub clock: RunClock,
}

/// A raid that nobody wins by accident.
pub fn long_raid(members: usize) -> NewRaid {
    NewRaid {
        title: "Reality".to_owned(),
        description: None,
        target_xp: 1_000_000,
        target_tasks: 10_000,
        time_limit_secs: None,
        max_members: Some(members as i64 + 2),
        late_join: Some(true),
    }
}

/// The address as a place to send requests to.
pub fn target(address: SocketAddr) -> Target {
    Target::parse(&format!("http://{address}")).expect("loopback")
}

impl RaidGroup {
    /// Guests who have created and joined a raid. They talk alternately in either codec and are not connected yet.
    pub async fn create(target: &Target, members: usize, raid: &NewRaid) -> RaidGroup {
        Self::create_on(&Targets::from(*target), members, raid).await
    }

    /// The same at several instances: player N is at home at instance N modulo their number.
    pub async fn create_on(targets: &Targets, members: usize, raid: &NewRaid) -> RaidGroup {
        Self::create_players(targets, members, 1, |number| number, raid).await
    }

    /// Members with so many devices each, all at home at the first instance.
    pub async fn create_with_devices(
        targets: &Targets,
        members: usize,
        devices: usize,
        raid: &NewRaid,
    ) -> RaidGroup {
        Self::create_players(targets, members, devices, |_| 0, raid).await
    }

    async fn create_players(
        targets: &Targets,
        members: usize,
        devices: usize,
        home: impl Fn(usize) -> usize,
        raid: &NewRaid,
    ) -> RaidGroup {
        let rest = RestClient::with_targets(targets.clone())
            .expect("doors")
            .with_retry_timeout(TIMEOUT);
        let (clock, decoder) = (RunClock::start(), Decoder::new());
        let mut players = Vec::new();
        let mut made: Option<(RaidId, String)> = None;
        for number in 0..members {
            let rest = rest.with_home(home(number));
            let tokens = rest
                .sign_in_guest(&format!("player {number}"))
                .await
                .expect("a guest");
            let own = rest.with_token(&tokens.access_token);
            let view = match &made {
                None => own.create_raid(raid, None).await.expect("a raid"),
                Some((_, invite)) => own.join_raid(invite).await.expect("a member"),
            };
            made = Some((view.state.id, view.state.invite_code));
            for device in number * devices..(number + 1) * devices {
                let (rest, tokens, decoder) = (rest.clone(), tokens.clone(), decoder.clone());
                let (name, seed) = (format!("player {number}, device {device}"), device as u64);
                let codec = Codec::ALL[device % 2];
                players.push(Player::new(PlayerOptions {
                    client_name: name,
                    rest,
                    tokens,
                    codec,
                    decoder,
                    clock,
                    jitter_seed: seed,
                }));
            }
        }
        let (raid, invite) = made.expect("a raid has a member");
        RaidGroup {
            raid,
            invite_code: invite,
            players,
            clock,
        }
    }

    /// The same, with the raid started and everybody watching.
    pub async fn start(target: &Target, members: usize, raid: &NewRaid) -> RaidGroup {
        Self::start_on(&Targets::from(*target), members, raid).await
    }

    /// The same at several instances: player N is at home at instance N modulo their number.
    pub async fn start_on(targets: &Targets, members: usize, raid: &NewRaid) -> RaidGroup {
        let mut party = Self::create_on(targets, members, raid).await;
        let raid = party.raid;
        for player in &mut party.players {
            player.watch(raid).await;
            step_until(player, "watches", |player| player.is_watching(raid)).await;
        }
        party.players[0].send_command(raid, Command::Start).await;
        for player in &mut party.players {
            step_until(player, "sees the start", |player| {
                raid_status(player, raid) == Some(RaidStatus::Active)
            })
            .await;
        }
        party
    }

    /// A member more, who is in nobody's books.
    pub async fn add_member(&self) -> TokenPair {
        let rest = self.players[0].rest();
        let tokens = rest.sign_in_guest("witness").await.expect("a guest");
        rest.with_token(&tokens.access_token)
            .join_raid(&self.invite_code)
            .await
            .expect("a member");
        tokens
    }

    /// Waits until everybody is shown everybody online.
    pub async fn wait_until_all_online(&mut self) {
        let (raid, everybody) = (self.raid, self.player_ids());
        for player in &mut self.players {
            step_until(player, "sees all", |player| {
                player.online(raid) == Some(&everybody)
            })
            .await;
        }
    }

    fn player_ids(&self) -> BTreeSet<PlayerId> {
        self.players
            .iter()
            .map(|player| player.player_ref().id)
            .collect()
    }

    /// Everybody plays until told to stop, or until the raid is over, and then until all is answered.
    pub fn start_playing(self) -> PlayingGroup {
        let actors = self.players.len();
        self.start_playing_at_pace(actors, Duration::ZERO)
    }

    /// The same, but only the first players act, each once in this time at most; the others watch.
    pub fn start_playing_at_pace(self, actors: usize, every: Duration) -> PlayingGroup {
        let (stop, stopped) = watch::channel(false);
        let RaidGroup {
            raid,
            invite_code: invite,
            players,
            clock,
        } = self;
        let rest = players[0].rest().with_retry_timeout(TIMEOUT);
        let watching = Arc::new(AtomicUsize::new(0));
        let play = |(number, player)| {
            let (pause, watching) = ((number < actors).then_some(every), Arc::clone(&watching));
            tokio::spawn(play(player, raid, pause, watching, stopped.clone()))
        };
        let players = players.into_iter().enumerate().map(play).collect();
        PlayingGroup {
            raid,
            invite_code: invite,
            rest,
            clock,
            watching_count: watching,
            stop,
            players,
        }
    }

    /// Waits until everybody holds all of it and shows the right players online, then judges what everybody was told
    /// against the server's own account.
    pub async fn settle(self) -> (Verdict, RaidState) {
        let SettledGroup {
            verdict,
            server_record: truth,
            ..
        } = self.settle_with_logs().await;
        (verdict, truth.state)
    }

    /// The same, with all that there is to be judged.
    pub async fn settle_with_logs(mut self) -> SettledGroup {
        let raid = self.raid;
        let rest = self.players[0].rest();
        for player in &mut self.players {
            step_until(player, "is answered", |player| player.pending_count() == 0).await;
        }
        let everybody = self.player_ids();
        let (view, online) = loop {
            let view = rest.raid(raid).await.expect("the raid");
            for player in &mut self.players {
                step_until(player, "holds all and sees all", |player| {
                    player.seq(raid) >= view.seq
                        && player.is_watching(raid)
                        && player.online(raid) == Some(&everybody)
                })
                .await;
            }
            let after = rest.raid(raid).await.expect("the raid");
            if after.seq == view.seq {
                break (after, everybody.iter().copied().collect::<Vec<PlayerId>>());
            }
        };
        for player in &mut self.players {
            player.record_settled(raid, view.seq, online.clone());
        }
        let truth = self.read_server_record().await;
        let mut ledgers = Vec::new();
        for player in self.players {
            ledgers.extend(player.disconnect().await.0);
        }
        SettledGroup {
            verdict: judge(raid, &ledgers, Some(&truth)),
            raid,
            client_logs: ledgers,
            server_record: truth,
        }
    }

    async fn read_server_record(&self) -> ServerRecord {
        let rest = self.players[0].rest();
        let mut profiles = Vec::new();
        for id in self.player_ids() {
            let player = self
                .players
                .iter()
                .find(|player| player.player_ref().id == id)
                .expect("one of us");
            profiles.push(player.rest().profile().await.expect("a profile"));
        }
        let view = rest.raid(self.raid).await.expect("the raid");
        ServerRecord {
            events: rest.all_events(self.raid).await.expect("the ledger"),
            contributions: Some(
                rest.all_contributions(self.raid)
                    .await
                    .expect("the contributions"),
            ),
            state: view.state,
            seq: view.seq,
            online: view.online,
            profiles,
        }
    }
}

/// A raid that came to rest.
pub struct SettledGroup {
    pub verdict: Verdict,
    pub raid: RaidId,
    pub client_logs: Vec<ClientLog>,
    pub server_record: ServerRecord,
}

impl SettledGroup {
    /// Whom players were shown gone in this time, in which everybody meant to be there.
    pub fn check_presence(&self, from: Moment, to: Moment) -> PresenceErrors {
        let calm = StablePeriod {
            from,
            to,
            presence_grace: PRESENCE_GRACE,
            leader_grace: LEADER_GRACE,
        };
        check_presence(
            self.raid,
            &self.client_logs,
            Some(&self.server_record),
            &calm,
        )
    }
}

/// A raid being played.
pub struct PlayingGroup {
    pub raid: RaidId,
    pub clock: RunClock,
    invite_code: String,
    rest: RestClient,
    watching_count: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    players: Vec<JoinHandle<Player>>,
}

impl PlayingGroup {
    /// Waits until the raid has gone on by so many events.
    pub async fn wait_for_events(&self, events: u64) {
        let seq = || async { self.rest.raid(self.raid).await.expect("the raid").seq.0 };
        let from = seq().await;
        while seq().await < from + events {
            sleep(POLL_INTERVAL).await;
        }
    }

    /// How many of the players watch now.
    pub fn watching_count(&self) -> usize {
        self.watching_count.load(Ordering::Relaxed)
    }

    /// Stops, and judges: nobody was disconnected, and everything is accounted for.
    pub async fn stop_and_judge(self) {
        let party = self.stop().await;
        for player in &party.players {
            assert_eq!(player.counts().reconnects, 0, "{:?}", player.counts());
        }
        let (verdict, _) = party.settle().await;
        verdict.assert_no_violations();
        println!("{verdict:?}");
        assert!(verdict.acks > 60, "{verdict:?}");
    }

    /// The players, once everything that they asked for is answered.
    pub async fn stop(self) -> RaidGroup {
        self.stop.send_replace(true);
        self.wait_for_end().await
    }

    /// The players, once the raid is over.
    pub async fn wait_for_end(self) -> RaidGroup {
        let mut players = Vec::new();
        for player in self.players {
            players.push(player.await.expect("a player"));
        }
        RaidGroup {
            raid: self.raid,
            invite_code: self.invite_code,
            players,
            clock: self.clock,
        }
    }
}

/// Plays, with this pause between commands; without one it watches.
async fn play(
    mut player: Player,
    raid: RaidId,
    pause: Option<Duration>,
    watching: Arc<AtomicUsize>,
    stopped: watch::Receiver<bool>,
) -> Player {
    let over = |player: &Player| player.state(raid).is_some_and(|state| state.status.ended());
    let (mut turn, mut next, mut watches) = (0, Instant::now(), false);
    while !*stopped.borrow() && !over(&player) {
        if let Some(pause) = pause
            && player.pending_count() < 4
            && next <= Instant::now()
        {
            (turn, next) = (turn + 1, Instant::now() + pause);
            let command = choose_command(&player, raid, turn);
            player.send_command(raid, command).await;
        }
        player
            .step(
                Instant::now()
                    + if pause.is_some() {
                        POLL_INTERVAL
                    } else {
                        POLL_INTERVAL * 10
                    },
            )
            .await;
        if watches != player.is_watching(raid) {
            watches = !watches;
            let change = if watches { 1 } else { usize::MAX };
            watching.fetch_add(change, Ordering::Relaxed);
        }
    }
    step_until(&mut player, "is answered", |player| {
        player.pending_count() == 0
    })
    .await;
    player
}

/// Something that makes sense now, and that can be told from everything else.
fn choose_command(player: &Player, raid: RaidId, turn: u64) -> Command {
    let me = player.player_ref().id;
    if let Some(state) = player.state(raid) {
        let energy = state
            .members
            .iter()
            .find(|member| member.player == me)
            .map_or(0, |member| member.energy);
        let mine = |task: &&Task| task.status == TaskStatus::Claimed && task.assignee == Some(me);
        if let Some(task) = state.tasks.iter().find(mine) {
            return Command::CompleteTask { task: task.id };
        }
        let open = || {
            state
                .tasks
                .iter()
                .filter(|task| task.status == TaskStatus::Open)
        };
        if energy >= CLAIM_ENERGY
            && let Some(task) = open().nth(me.get() as usize % open().count().max(1))
        {
            return Command::ClaimTask { task: task.id };
        }
        if state.tasks.len() < 60 && turn.is_multiple_of(2) {
            return Command::AddTask {
                title: format!("{me}'s task {turn}"),
                xp: 20,
                minutes: 5,
            };
        }
    }
    Command::Say {
        text: format!("{me} says {turn}"),
    }
}

/// Lets a player go on until something is so.
pub async fn step_until(player: &mut Player, what: &str, so: impl Fn(&Player) -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !so(player) {
        let (name, tally) = (player.player_ref().name.clone(), player.counts().clone());
        assert!(
            Instant::now() < deadline,
            "{name} waits in vain: {what}; {tally:?}"
        );
        player.step(Instant::now() + POLL_INTERVAL).await;
    }
}

/// How a raid stands, as a player has it.
pub fn raid_status(player: &Player, raid: RaidId) -> Option<RaidStatus> {
    player.state(raid).map(|state| state.status)
}
