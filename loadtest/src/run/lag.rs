//! How much later an event arrives on another node than on its own: one process watches on both
//! nodes by one clock.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use raidhall_protocol::{Codec, Seq};
use tokio::time::{Instant, sleep, timeout};

use super::bot_groups::BotGroups;
use super::cluster::{Nodes, Services};
use super::self_monitor::SelfMonitor;
use super::{OVERHEAD_MAX, add_outcomes, set_rates};
use crate::client_log::{ClientLog, Moment, Observation, RunClock};
use crate::judge;
use crate::latency::Latency;
use crate::play::{BotHabits, BotPace, GroupOutcome, GroupPlan, OtherPlayers};
use crate::process::raise_open_files_limit;
use crate::report::{LagFigures, Report};
use crate::targets::Targets;

const NODES: usize = 2;
/// The acting player, a watcher on the other node, and one on the same node; homes are assigned in
/// turn.
const PLAYERS: usize = 3;
/// How long it takes until the load is steady.
const RAMP_UP_TIME: Duration = Duration::from_secs(2);
/// Factor by which more commands are sent than events are wanted, because some commands are refused
/// and timers are late.
const REFUSAL_ALLOWANCE: f64 = 1.1;

/// Arguments of `lag`: the services, how many events, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct LagArgs {
    #[command(flatten)]
    pub services: Services,
    /// Events per second, all raids together
    #[arg(long, default_value_t = 1000.0)]
    pub events_per_second: f64,
    /// Seconds to measure, 1 to 3600
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Raids that the events are spread over, half of them on each node, 1 to 1000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub raids: u16,
}

impl LagArgs {
    fn plans(&self) -> Vec<GroupPlan> {
        let pace = BotPace {
            commands_per_second: self.events_per_second * REFUSAL_ALLOWANCE / f64::from(self.raids),
            signals_per_second: 0.0,
            reads_per_second: 0.0,
            poll_interval: Duration::from_millis(200),
        };
        let plan = |index| GroupPlan {
            index,
            players: PLAYERS,
            codecs: &Codec::ALL,
            seed: index as u64,
            pace,
            is_winnable: false,
            time_limit: None,
            habits: BotHabits::default(),
            active_players: 1,
            others: OtherPlayers::default(),
        };
        (0..usize::from(self.raids)).map(plan).collect()
    }
}

/// Starts two nodes, plays, measures, judges and reports.
pub async fn lag(args: &LagArgs) -> anyhow::Result<Report> {
    let nodes = Nodes::start(&args.services, NODES, None).await?;
    run_on_nodes(nodes, args).await
}

async fn run_on_nodes(mut nodes: Nodes, args: &LagArgs) -> anyhow::Result<Report> {
    raise_open_files_limit(u64::from(args.raids) * PLAYERS as u64 + 256)?;
    let most = Duration::from_secs(args.seconds) + OVERHEAD_MAX;
    let report = timeout(most, play(args, nodes.targets()))
        .await
        .context("the run took too long")??;
    nodes.check_all_running()?;
    nodes.stop().await?;
    Ok(report)
}

async fn play(args: &LagArgs, targets: Targets) -> anyhow::Result<Report> {
    let clock = RunClock::start();
    let mut groups = BotGroups::create(targets.clone(), args.plans()).await?;
    groups.connect(clock).await?;
    groups.start_playing();
    sleep(RAMP_UP_TIME).await;
    let from = clock.now();
    let read = groups.meter.read();
    let began = Instant::now();
    let tester = SelfMonitor::start()?;
    sleep(Duration::from_secs(args.seconds)).await;
    let to = clock.now();
    let done = groups.meter.read();
    let lasted = began.elapsed();
    let tester = tester.finish()?;
    let connections = groups.connections();
    let outcomes = groups.settle().await?;
    let mut report = Report {
        run: "lag".to_owned(),
        raids: usize::from(args.raids),
        connections,
        seconds: lasted.as_secs_f64(),
        tester,
        ..Report::default()
    };
    set_rates(&mut report, read, done, lasted);
    add_outcomes(&mut report, &outcomes);
    let figures = measure(&outcomes, &targets, (from, to));
    anyhow::ensure!(
        figures.other_node.count > 0,
        "no event was seen on another node than its own"
    );
    report.lag = Some(figures);
    Ok(report)
}

/// A client that stayed connected to one server.
struct StableClient<'a> {
    server: usize,
    log: &'a ClientLog,
}

/// Measures the events of the commands that were sent in the given period.
fn measure(
    outcomes: &[GroupOutcome],
    targets: &Targets,
    (from, to): (Moment, Moment),
) -> LagFigures {
    let mut same = Latency::default();
    let mut other = Latency::default();
    let mut hop = Latency::default();
    let mut events = 0_u64;
    let mut left_out = 0;
    for outcome in outcomes {
        let clients: Vec<_> = outcome.ledgers.iter().filter_map(stable_client).collect();
        let sent: Vec<_> = clients
            .iter()
            .map(|client| (client, send_times(client.log)))
            .collect();
        let Some((actor, sent)) = sent.into_iter().find(|(_, sent)| !sent.is_empty()) else {
            continue;
        };
        if owner_index(&outcome.ws_url, targets) != Some(actor.server) {
            left_out += 1;
            continue;
        }
        let sent: BTreeMap<_, _> = sent
            .into_iter()
            .filter(|(_, at)| from <= *at && *at <= to)
            .collect();
        events += sent.len() as u64;
        let mut arrived: BTreeMap<Seq, [Option<Moment>; 2]> = BTreeMap::new();
        for client in clients
            .iter()
            .filter(|client| !std::ptr::eq(client.log, actor.log))
        {
            let elsewhere = client.server != actor.server;
            for (seq, (at, _)) in judge::read_client_log(client.log).events {
                let Some(sent) = sent.get(&seq) else { continue };
                if elsewhere { &mut other } else { &mut same }.add(at.since(*sent));
                arrived.entry(seq).or_default()[usize::from(elsewhere)] = Some(at);
            }
        }
        for arrived in arrived.into_values() {
            if let [Some(here), Some(there)] = arrived {
                hop.add(there.since(here));
            }
        }
    }
    let seconds = to.since(from) as f64 / 1e6;
    LagFigures {
        events_per_second: events as f64 / seconds.max(0.001),
        same_node: same.percentiles(),
        other_node: other.percentiles(),
        hop: hop.percentiles(),
        left_out,
    }
}

fn stable_client(log: &ClientLog) -> Option<StableClient<'_>> {
    let servers = log
        .entries()
        .iter()
        .filter_map(|record| match record.observation {
            Observation::Connected { server, .. } => Some(server),
            _ => None,
        });
    let servers: Vec<_> = servers.collect();
    match servers[..] {
        [server] => Some(StableClient { server, log }),
        _ => None,
    }
}

/// Returns when the command of each event was sent. Commands that were sent more than once are left
/// out.
fn send_times(log: &ClientLog) -> BTreeMap<Seq, Moment> {
    let commands = judge::read_client_log(log).commands.into_values();
    commands
        .filter(|command| command.attempts == 1)
        .filter_map(|command| Some((command.ack?.1, command.first_sent)))
        .collect()
}

/// Returns the index of the server that the URL leads to.
fn owner_index(ws_url: &str, targets: &Targets) -> Option<usize> {
    let authority = ws_url.split_once("://")?.1.split('/').next()?;
    (0..targets.count()).find(|place| targets.get(*place).address().to_string() == authority)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raidhall_protocol::{
        ClientMessage, Command, Event, EventData, PlayerId, RaidId, RaidState, ServerMessage,
        UnixMillis,
    };

    use super::*;
    use crate::judge::ServerRecord;
    use crate::target::Target;

    const OURS: &str = "ws://127.0.0.1:4001/api/v1/ws";

    fn raid() -> RaidId {
        RaidId::try_from(7_u64).unwrap()
    }

    fn state() -> RaidState {
        serde_json::from_value(serde_json::json!({
            "id": 7, "title": "Ship it", "description": null, "invite_code": "K7MQ2XNB", "status": "active",
            "reason": null, "target_xp": 1, "target_tasks": 1, "current_xp": 0, "current_tasks": 0,
            "max_members": 4, "late_join": false, "ranked": false, "time_limit_secs": 60, "created_at": 0, "started_at": 0,
            "deadline": 1, "ended_at": null, "leader": null, "term": 1, "members": [], "tasks": [],
            "messages": [], "ranking": null
        }))
        .unwrap()
    }

    /// Returns the log of a client that receives event 2 at `arrived` ms and, with `sent`, sent its
    /// command at that time.
    fn client(server: usize, arrived: u64, sent: Option<u64>) -> ClientLog {
        let mut log = ClientLog::new(
            format!("{server}"),
            PlayerId::try_from(5_u64).unwrap(),
            raid(),
        );
        let mut record = |ms: u64, entry| log.record(Moment(ms * 1000), entry);
        let received = |message| Observation::Received(Arc::new(message));
        record(
            1,
            Observation::Connected {
                lineage: "9f2c".to_owned(),
                server,
            },
        );
        record(
            2,
            Observation::Sent(ClientMessage::Watch {
                id: None,
                raid: raid(),
                since: None,
            }),
        );
        let seq = Seq(1);
        let online = Vec::new();
        let state = Box::new(state());
        record(
            3,
            received(ServerMessage::Snapshot {
                id: None,
                raid: raid(),
                seq,
                recovered: false,
                online,
                state,
            }),
        );
        let cmd = Command::Say {
            text: "on it".to_owned(),
        };
        if let Some(ms) = sent {
            record(
                ms,
                Observation::Sent(ClientMessage::Do {
                    id: 1,
                    raid: raid(),
                    op: None,
                    cmd,
                }),
            );
        }
        let data = EventData::Said {
            text: "on it".to_owned(),
        };
        let event = Event {
            seq: Seq(2),
            at: UnixMillis(1),
            by: None,
            data,
        };
        record(
            arrived,
            received(ServerMessage::Event {
                raid: raid(),
                event,
            }),
        );
        if sent.is_some() {
            record(
                arrived,
                received(ServerMessage::Ack {
                    id: 1,
                    raid: raid(),
                    seq: Seq(2),
                    duplicate: false,
                }),
            );
        }
        log
    }

    fn measured(ledgers: Vec<ClientLog>, ws_url: &str) -> LagFigures {
        let target = |port| Target::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        let targets = Targets::new(vec![target(4000), target(4001)]).unwrap();
        let truth = ServerRecord {
            events: Vec::new(),
            state: state(),
            seq: Seq(2),
            online: Vec::new(),
            contributions: None,
            profiles: Vec::new(),
        };
        let outcome = GroupOutcome {
            raid: raid(),
            ledgers,
            server_record: truth,
            views: Vec::new(),
            outsider_log: None,
            visitor: None,
            ws_url: ws_url.to_owned(),
            counts: Vec::new(),
            signal_latencies_micros: Vec::new(),
            commands_held_back: 0,
        };
        measure(&[outcome], &targets, (Moment(50_000), Moment(1_050_000)))
    }

    #[test]
    fn lag_is_measured_separately_for_the_same_node_and_other_nodes() {
        let ledgers = || {
            vec![
                client(1, 102, Some(100)),
                client(0, 115, None),
                client(1, 105, None),
            ]
        };
        let figures = measured(ledgers(), OURS);
        let rounded = [figures.same_node, figures.other_node, figures.hop]
            .map(|p| (p.count, p.max_ms.round()));
        assert_eq!(rounded, [(1, 5.0), (1, 15.0), (1, 10.0)]);
        assert!(
            (figures.events_per_second - 1.0).abs() < 0.001 && figures.left_out == 0,
            "{figures:?}"
        );
        let elsewhere = measured(ledgers(), "ws://127.0.0.1:4000/api/v1/ws");
        assert_eq!((elsewhere.left_out, elsewhere.other_node.count), (1, 0));
    }

    #[test]
    fn lag_ignores_commands_before_the_measurement_and_moved_clients() {
        let early = measured(vec![client(1, 42, Some(40)), client(0, 55, None)], OURS);
        assert_eq!(early.other_node.count, 0);
        let mut moved = client(0, 115, None);
        moved.record(
            Moment(120_000),
            Observation::Connected {
                lineage: "9f2c".to_owned(),
                server: 1,
            },
        );
        let figures = measured(
            vec![client(1, 102, Some(100)), moved, client(1, 105, None)],
            OURS,
        );
        assert_eq!((figures.same_node.count, figures.other_node.count), (1, 0));
    }
}
