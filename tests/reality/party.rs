//! A raid's players, as the load test simulates them: they survive lost connections, write everything down, and are
//! judged in the end.

use raidhall_loadtest::client::{Decoder, Equipment, Player, Rest};
use raidhall_loadtest::judge::{Truth, Verdict, judge};
use raidhall_loadtest::ledger::RunClock;
use raidhall_loadtest::target::Target;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::rest::{NewRaid, TokenPair};
use raidhall_protocol::state::{RaidStatus, Task, TaskStatus};
use raidhall_protocol::{Codec, Command, PlayerId, RaidId, RaidState};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a player looks up from the socket.
const GLANCE: Duration = Duration::from_millis(20);
/// What claiming a task costs.
const CLAIM_ENERGY: u32 = 10;

/// A raid and its players; the first leads.
pub struct Party {
    pub raid: RaidId,
    pub invite: String,
    pub players: Vec<Player>,
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

impl Party {
    /// Guests who have created and joined a raid. They talk alternately in either codec and are not connected yet.
    pub async fn gather(target: &Target, members: usize, raid: &NewRaid) -> Party {
        Self::gather_over(&Targets::from(*target), members, raid).await
    }

    /// The same at several instances: player N is at home at instance N modulo their number.
    pub async fn gather_over(targets: &Targets, members: usize, raid: &NewRaid) -> Party {
        let rest = Rest::over(targets.clone()).expect("doors").with_patience(PATIENCE);
        let (clock, decoder) = (RunClock::start(), Decoder::new());
        let mut players = Vec::new();
        let mut made: Option<(RaidId, String)> = None;
        for number in 0..members {
            let name = format!("player {number}");
            let rest = rest.at(number);
            let tokens = rest.guest(&name).await.expect("a guest");
            let own = rest.with_token(&tokens.access_token);
            let view = match &made {
                None => own.create(raid, None).await.expect("a raid"),
                Some((_, invite)) => own.join(invite).await.expect("a member"),
            };
            made = Some((view.state.id, view.state.invite_code));
            let codec = Codec::ALL[number % 2];
            let (decoder, seed) = (decoder.clone(), number as u64);
            players.push(Player::new(Equipment { name, rest, tokens, codec, decoder, clock, seed }));
        }
        let (raid, invite) = made.expect("a raid has a member");
        Party { raid, invite, players }
    }

    /// The same, with the raid started and everybody watching.
    pub async fn at_play(target: &Target, members: usize, raid: &NewRaid) -> Party {
        Self::at_play_over(&Targets::from(*target), members, raid).await
    }

    /// The same at several instances: player N is at home at instance N modulo their number.
    pub async fn at_play_over(targets: &Targets, members: usize, raid: &NewRaid) -> Party {
        let mut party = Self::gather_over(targets, members, raid).await;
        let raid = party.raid;
        for player in &mut party.players {
            player.watch(raid).await;
            until(player, "watches", |player| player.watches(raid)).await;
        }
        party.players[0].act(raid, Command::Start).await;
        for player in &mut party.players {
            until(player, "sees the start", |player| status(player, raid) == Some(RaidStatus::Active)).await;
        }
        party
    }

    /// A member more, who is in nobody's books.
    pub async fn witness(&self) -> TokenPair {
        let rest = self.players[0].rest();
        let tokens = rest.guest("witness").await.expect("a guest");
        rest.with_token(&tokens.access_token).join(&self.invite).await.expect("a member");
        tokens
    }

    /// Everybody plays until told to stop, or until the raid is over, and then until all is answered.
    pub fn play(self) -> Game {
        let (stop, stopped) = watch::channel(false);
        let raid = self.raid;
        let rest = self.players[0].rest().with_patience(PATIENCE);
        let play = |player| tokio::spawn(play(player, raid, stopped.clone()));
        let players = self.players.into_iter().map(play).collect();
        Game { raid, invite: self.invite, rest, stop, players }
    }

    /// Waits until everybody holds all of it and shows the right players online, then judges what everybody was told
    /// against the server's own account.
    pub async fn settle(mut self) -> (Verdict, RaidState) {
        let raid = self.raid;
        let rest = self.players[0].rest();
        for player in &mut self.players {
            until(player, "is answered", |player| player.unanswered() == 0).await;
        }
        let everybody: BTreeSet<_> = self.players.iter().map(|player| player.who().id).collect();
        let (view, online) = loop {
            let view = rest.raid(raid).await.expect("the raid");
            for player in &mut self.players {
                until(player, "holds all and sees all", |player| {
                    player.seq(raid) >= view.seq
                        && player.watches(raid)
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
            player.settle(raid, view.seq, online.clone());
        }
        let truth = self.truth().await;
        let mut ledgers = Vec::new();
        for player in self.players {
            ledgers.extend(player.leave().await.0);
        }
        (judge(raid, &ledgers, Some(&truth)), truth.state)
    }

    async fn truth(&self) -> Truth {
        let rest = self.players[0].rest();
        let mut profiles = Vec::new();
        for player in &self.players {
            profiles.push(player.rest().me().await.expect("a profile"));
        }
        let view = rest.raid(self.raid).await.expect("the raid");
        Truth {
            events: rest.all_events(self.raid).await.expect("the ledger"),
            contributions: Some(rest.all_contributions(self.raid).await.expect("the contributions")),
            state: view.state,
            seq: view.seq,
            online: view.online,
            profiles,
        }
    }
}

/// A raid being played.
pub struct Game {
    pub raid: RaidId,
    invite: String,
    rest: Rest,
    stop: watch::Sender<bool>,
    players: Vec<JoinHandle<Player>>,
}

impl Game {
    /// Waits until the raid has gone on by so many events.
    pub async fn goes_on(&self, events: u64) {
        let seq = || async { self.rest.raid(self.raid).await.expect("the raid").seq.0 };
        let from = seq().await;
        while seq().await < from + events {
            sleep(GLANCE).await;
        }
    }

    /// The players, once everything that they asked for is answered.
    pub async fn stop(self) -> Party {
        self.stop.send_replace(true);
        self.over().await
    }

    /// The players, once the raid is over.
    pub async fn over(self) -> Party {
        let mut players = Vec::new();
        for player in self.players {
            players.push(player.await.expect("a player"));
        }
        Party { raid: self.raid, invite: self.invite, players }
    }
}

async fn play(mut player: Player, raid: RaidId, stopped: watch::Receiver<bool>) -> Player {
    let over = |player: &Player| player.state(raid).is_some_and(|state| state.status.ended());
    let mut turn = 0;
    while !*stopped.borrow() && !over(&player) {
        if player.unanswered() < 4 {
            turn += 1;
            let command = choose(&player, raid, turn);
            player.act(raid, command).await;
        }
        player.step(Instant::now() + GLANCE).await;
    }
    until(&mut player, "is answered", |player| player.unanswered() == 0).await;
    player
}

/// Something that makes sense now, and that can be told from everything else.
fn choose(player: &Player, raid: RaidId, turn: u64) -> Command {
    let me = player.who().id;
    if let Some(state) = player.state(raid) {
        let energy =
            state.members.iter().find(|member| member.player == me).map_or(0, |member| member.energy);
        let mine = |task: &&Task| task.status == TaskStatus::Claimed && task.assignee == Some(me);
        if let Some(task) = state.tasks.iter().find(mine) {
            return Command::CompleteTask { task: task.id };
        }
        let open = || state.tasks.iter().filter(|task| task.status == TaskStatus::Open);
        if energy >= CLAIM_ENERGY
            && let Some(task) = open().nth(me.get() as usize % open().count().max(1))
        {
            return Command::ClaimTask { task: task.id };
        }
        if state.tasks.len() < 60 && turn.is_multiple_of(2) {
            return Command::AddTask { title: format!("{me}'s task {turn}"), xp: 20, minutes: 5 };
        }
    }
    Command::Say { text: format!("{me} says {turn}") }
}

/// Lets a player go on until something is so.
pub async fn until(player: &mut Player, what: &str, so: impl Fn(&Player) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so(player) {
        let (name, tally) = (player.who().name.clone(), player.tally().clone());
        assert!(Instant::now() < deadline, "{name} waits in vain: {what}; {tally:?}");
        player.step(Instant::now() + GLANCE).await;
    }
}

/// How a raid stands, as a player has it.
pub fn status(player: &Player, raid: RaidId) -> Option<RaidStatus> {
    player.state(raid).map(|state| state.status)
}
