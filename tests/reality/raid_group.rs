//! The simulated players of one raid, as the load tester has them: they survive lost connections,
//! log everything, and are judged in the end.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use raidhall_loadtest::client::{Decoder, Player, PlayerOptions, RestClient};
use raidhall_loadtest::client_log::{ClientLog, Moment, RunClock};
use raidhall_loadtest::judge::{
    PresenceErrors, ServerRecord, StablePeriod, Verdict, check_presence, check_views, judge,
};
use raidhall_loadtest::target::Target;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::rest::{NewRaid, Profile, TokenPair};
use raidhall_protocol::state::{RaidStatus, Task, TaskStatus};
use raidhall_protocol::{Codec, Command, PlayerId, RaidId, RaidState};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How long any expected change may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a player stops waiting for its connection to check its goal.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The energy that claiming a task costs.
const CLAIM_ENERGY: u32 = 10;

/// `raid.presence_grace_ms` of the servers.
const PRESENCE_GRACE: Duration = Duration::from_secs(5);
/// `raid.leader_grace_ms` of the servers.
const LEADER_GRACE: Duration = Duration::from_secs(60);

/// A raid and its players; the first one leads.
pub struct RaidGroup {
    pub raid: RaidId,
    pub invite_code: String,
    pub players: Vec<Player>,
    /// The clock of the players' client logs.
    pub clock: RunClock,
}

/// Returns a raid whose goal is out of reach.
pub fn long_raid(members: usize) -> NewRaid {
    NewRaid {
        title: "Reality".to_owned(),
        description: None,
        target_xp: 1_000_000,
        target_tasks: 10_000,
        time_limit_secs: None,
        max_members: Some(members as i64 + 2),
        late_join: Some(true),
        ranked: None,
    }
}

/// Returns the address as a target.
pub fn target(address: SocketAddr) -> Target {
    Target::parse(&format!("http://{address}")).expect("loopback")
}

impl RaidGroup {
    /// Signs in guests, creates a raid and joins them to it. They use both codecs in turn and are
    /// not connected yet.
    pub async fn create(target: &Target, members: usize, raid: &NewRaid) -> RaidGroup {
        Self::create_on(&Targets::from(*target), members, raid).await
    }

    /// Does the same on several instances: player N's home is instance N modulo their number.
    pub async fn create_on(targets: &Targets, members: usize, raid: &NewRaid) -> RaidGroup {
        Self::create_players(targets, members, 1, |number| number, raid).await
    }

    /// Creates members with this many devices each, all at home at the first instance.
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
            .expect("a REST client")
            .with_retry_timeout(TIMEOUT);
        let clock = RunClock::start();
        let decoder = Decoder::new();
        let mut players = Vec::new();
        let mut created: Option<(RaidId, String)> = None;
        for number in 0..members {
            let rest = rest.with_home(home(number));
            let tokens = rest
                .sign_in_guest(&format!("player {number}"))
                .await
                .expect("a guest");
            let own = rest.with_token(&tokens.access_token);
            let view = match &created {
                None => own.create_raid(raid, None).await.expect("a raid"),
                Some((_, invite)) => own.join_raid(invite).await.expect("a member"),
            };
            created = Some((view.state.id, view.state.invite_code));
            for device in number * devices..(number + 1) * devices {
                let rest = rest.clone();
                let tokens = tokens.clone();
                let decoder = decoder.clone();
                let name = format!("player {number}, device {device}");
                let seed = device as u64;
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
        let (raid, invite) = created.expect("a raid has a member");
        RaidGroup {
            raid,
            invite_code: invite,
            players,
            clock,
        }
    }

    /// Creates a group as [`Self::create`] does, starts the raid, and waits until all players watch
    /// it.
    pub async fn start(target: &Target, members: usize, raid: &NewRaid) -> RaidGroup {
        Self::start_on(&Targets::from(*target), members, raid).await
    }

    /// Does the same on several instances: player N's home is instance N modulo their number.
    pub async fn start_on(targets: &Targets, members: usize, raid: &NewRaid) -> RaidGroup {
        let mut group = Self::create_on(targets, members, raid).await;
        let raid = group.raid;
        for player in &mut group.players {
            player.watch(raid).await;
            step_until(player, "watches", |player| player.is_watching(raid)).await;
        }
        group.players[0].send_command(raid, Command::Start).await;
        for player in &mut group.players {
            step_until(player, "sees the start", |player| {
                raid_status(player, raid) == Some(RaidStatus::Active)
            })
            .await;
        }
        group
    }

    /// Adds a member who is not one of the group's players, and so is not judged.
    pub async fn add_member(&self) -> TokenPair {
        let rest = self.players[0].rest();
        let tokens = rest.sign_in_guest("witness").await.expect("a guest");
        rest.with_token(&tokens.access_token)
            .join_raid(&self.invite_code)
            .await
            .expect("a member");
        tokens
    }

    /// Waits until every player is shown all players online.
    pub async fn wait_until_all_online(&mut self) {
        let raid = self.raid;
        let all_players = self.player_ids();
        for player in &mut self.players {
            step_until(player, "sees all", |player| {
                player.online(raid) == Some(&all_players)
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

    /// Lets all players play until they are stopped or the raid ends, and then until all commands
    /// are answered.
    pub fn start_playing(self) -> PlayingGroup {
        let actors = self.players.len();
        self.start_playing_at_pace(actors, Duration::ZERO)
    }

    /// Does the same with only the first `actors` acting, each at most once in `every`; the others
    /// watch.
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
            let pause = (number < actors).then_some(every);
            let watching = Arc::clone(&watching);
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

    /// Waits until every player holds all events and sees the right players online, then judges the
    /// client logs against the server record.
    pub async fn settle(self) -> (Verdict, RaidState) {
        let SettledGroup {
            verdict,
            server_record,
            ..
        } = self.settle_with_logs().await;
        (verdict, server_record.state)
    }

    /// Does the same, and returns all that was judged.
    pub async fn settle_with_logs(mut self) -> SettledGroup {
        let raid = self.raid;
        let rest = self.players[0].rest();
        for player in &mut self.players {
            step_until(player, "is answered", |player| player.pending_count() == 0).await;
        }
        let all_players = self.player_ids();
        let (view, online) = loop {
            let view = rest.raid(raid).await.expect("the raid");
            for player in &mut self.players {
                step_until(player, "holds all and sees all", |player| {
                    player.seq(raid) >= view.seq
                        && player.is_watching(raid)
                        && player.online(raid) == Some(&all_players)
                })
                .await;
            }
            let after = rest.raid(raid).await.expect("the raid");
            if after.seq == view.seq {
                break (
                    after,
                    all_players.iter().copied().collect::<Vec<PlayerId>>(),
                );
            }
        };
        for player in &mut self.players {
            player.record_settled(raid, view.seq, online.clone());
        }
        let mut views = Vec::new();
        for server in 0..rest.targets().count() {
            // An instance that a test has stopped is skipped.
            let view = rest.with_home(server).raid(raid).await;
            views.push(view.map_err(|error| error.to_string()));
        }
        let server_record = self.read_server_record().await;
        let mut client_logs = Vec::new();
        for player in self.players {
            client_logs.extend(player.disconnect().await.0);
        }
        let mut verdict = judge(raid, &client_logs, Some(&server_record));
        let mismatches = check_views(raid, &client_logs, &server_record, &views);
        verdict.violations.extend(mismatches);
        SettledGroup {
            verdict,
            raid,
            client_logs,
            server_record,
        }
    }

    async fn read_server_record(&self) -> ServerRecord {
        let rest = self.players[0].rest();
        let view = rest.raid(self.raid).await.expect("the raid");
        let events = rest.all_events(self.raid).await.expect("the ledger");
        let mut profiles = Vec::new();
        for id in self.player_ids() {
            let player = self
                .players
                .iter()
                .find(|player| player.player_ref().id == id)
                .expect("one of us");
            let earned = events.iter().filter_map(|event| event.data.earned());
            let xp = earned.filter(|(by, _)| *by == id).map(|(_, xp)| xp).sum();
            profiles.push(read_profile(&player.rest(), xp).await);
        }
        ServerRecord {
            events,
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

/// Reads a player's profile once it has so much XP: the projector adds it a moment after the raid.
async fn read_profile(rest: &RestClient, xp: u64) -> Profile {
    loop {
        let profile = rest.profile().await.expect("a profile");
        if profile.xp >= xp {
            return profile;
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// A group that has settled, with its verdict and what was judged.
pub struct SettledGroup {
    pub verdict: Verdict,
    pub raid: RaidId,
    pub client_logs: Vec<ClientLog>,
    pub server_record: ServerRecord,
}

impl SettledGroup {
    /// Checks the presence that players were shown in this period, in which all of them meant to be
    /// online.
    pub fn check_presence(&self, from: Moment, to: Moment) -> PresenceErrors {
        let stable = StablePeriod {
            from,
            to,
            presence_grace: PRESENCE_GRACE,
            leader_grace: LEADER_GRACE,
            outages: Vec::new(),
        };
        check_presence(
            self.raid,
            &self.client_logs,
            Some(&self.server_record),
            &stable,
        )
    }
}

/// A group whose players are acting.
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
    /// Waits until the raid has this many more events.
    pub async fn wait_for_events(&self, events: u64) {
        let seq = || async { self.rest.raid(self.raid).await.expect("the raid").seq.0 };
        let from = seq().await;
        while seq().await < from + events {
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns how many of the players watch now.
    pub fn watching_count(&self) -> usize {
        self.watching_count.load(Ordering::Relaxed)
    }

    /// Stops the players and judges; asserts that none was disconnected and that there is no
    /// violation.
    pub async fn stop_and_judge(self) {
        let group = self.stop().await;
        for player in &group.players {
            assert_eq!(player.counts().reconnects, 0, "{:?}", player.counts());
        }
        let (verdict, _) = group.settle().await;
        verdict.assert_no_violations();
        println!("{verdict:?}");
        assert!(verdict.acks > 60, "{verdict:?}");
    }

    /// Stops the players, and returns them once all their commands are answered.
    pub async fn stop(self) -> RaidGroup {
        self.stop.send_replace(true);
        self.wait_for_end().await
    }

    /// Returns the players once the raid has ended.
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

/// Sends commands with this pause between them until stopped; without a pause the player only
/// watches.
async fn play(
    mut player: Player,
    raid: RaidId,
    pause: Option<Duration>,
    watching: Arc<AtomicUsize>,
    stopped: watch::Receiver<bool>,
) -> Player {
    let over = |player: &Player| player.state(raid).is_some_and(|state| state.status.ended());
    let mut turn = 0;
    let mut next = Instant::now();
    let mut watches = false;
    while !*stopped.borrow() && !over(&player) {
        if let Some(pause) = pause
            && player.pending_count() < 4
            && next <= Instant::now()
        {
            turn += 1;
            next = Instant::now() + pause;
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

/// Returns a command that makes sense in the current state, and whose effect can be identified in
/// the ledger.
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

/// Steps a player until the condition holds; fails with `what` after [`TIMEOUT`].
pub async fn step_until(player: &mut Player, what: &str, condition: impl Fn(&Player) -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition(player) {
        let name = player.player_ref().name.clone();
        let counts = player.counts().clone();
        assert!(
            Instant::now() < deadline,
            "{name} waited in vain: {what}; {counts:?}"
        );
        player.step(Instant::now() + POLL_INTERVAL).await;
    }
}

/// Returns the raid's status as the player sees it.
pub fn raid_status(player: &Player, raid: RaidId) -> Option<RaidStatus> {
    player.state(raid).map(|state| state.status)
}
