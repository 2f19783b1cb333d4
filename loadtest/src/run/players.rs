//! Players who follow their own streams on several devices while they play in raids and nodes are
//! disturbed. Every effect of a raid must reach every device, exactly once.

mod judging;
mod parties;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use judging::SettledStreams;
use parties::Parties;
use raidhall_protocol::Codec;
use tokio::time::{Instant, sleep};

use super::bot_groups::BotGroups;
use super::cluster::{
    ClusterArgs, DisturbanceArgs, FINAL_TASK_TIME, Nodes, SteadyLoadArgs, play_disturbed,
    run_within,
};
use super::parse_rate;
use crate::client::{Decoder, PlayerOptions};
use crate::client_log::RunClock;
use crate::judge::expected_effects;
use crate::play::{Backend, BackendPlan, BotGroup, DeviceGroup, DevicePlan, GrantSender};
use crate::process::raise_open_files_limit;
use crate::report::Report;

/// Time limit for connecting all devices.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `players`: those of `cluster`, and the load on the players' streams.
#[derive(Debug, Clone, clap::Args)]
pub struct PlayersArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub streams: StreamLoadArgs,
}

/// The devices of players, and what reaches their streams besides the effects of playing.
#[derive(Debug, Clone, clap::Args)]
pub struct StreamLoadArgs {
    /// Devices of each player, spread over the nodes, 1 to 16
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub devices: u8,
    /// Contributions per second from the host app's backend, all raids together, 0 to 10000
    #[arg(long, default_value_t = 20.0, value_parser = parse_contribution_rate)]
    pub contributions_per_second: f64,
    /// Changes of settings and purchases per second and device, 0 to 1000; the server admits 2 per player
    #[arg(long, default_value_t = 0.3, value_parser = parse_rate)]
    pub settings_per_second: f64,
    /// Seconds after which an effect is late, if no node is disturbed, 1 to 600
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub effect_seconds: u64,
}

/// Parses a rate of contributions per second.
fn parse_contribution_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected 0 to 10000".to_owned()),
    }
}

/// Starts the nodes, plays, disturbs them, judges raids and streams, and reports.
pub async fn players(args: &PlayersArgs) -> anyhow::Result<Report> {
    let ClusterArgs { play, disturb, .. } = &args.cluster;
    let nodes = args.cluster.start_nodes().await?;
    run_players_on_nodes(nodes, play, disturb, &args.streams).await
}

/// Does the same as [`players`] on nodes that are already running, and stops them at the end.
pub async fn run_players_on_nodes(
    nodes: Nodes,
    play: &SteadyLoadArgs,
    disturb: &DisturbanceArgs,
    streams: &StreamLoadArgs,
) -> anyhow::Result<Report> {
    let bots = play.raids * usize::from(play.players);
    let devices = bots * usize::from(streams.devices);
    raise_open_files_limit((bots + devices) as u64 + 256)?;
    run_within(nodes, play, disturb, async |nodes| {
        play_on(nodes, play, disturb, streams).await
    })
    .await
}

async fn play_on(
    nodes: &mut Nodes,
    play: &SteadyLoadArgs,
    disturb: &DisturbanceArgs,
    streams: &StreamLoadArgs,
) -> anyhow::Result<Report> {
    let clock = RunClock::start();
    let parties = Parties::sign_in(nodes, play).await?;
    let raids = parties.plan_raids(nodes, play).await?;
    let mut groups = BotGroups::create_for(nodes.targets(), raids).await?;
    groups.connect(clock).await?;
    groups.wait_until_fully_online().await?;
    let devices = connect_devices(&parties, play, streams, clock).await?;
    let backend = start_backend(&parties, &groups, play, streams, clock)?;
    let players = parties.players().map(|player| player.id).collect();
    let grants = GrantSender::start(&parties.backend(), players, play.seed);

    let played = play_disturbed(nodes, clock, &groups, play, disturb).await?;

    let backend = backend.stop().await;
    let mut grants = grants.stop().await?;
    for group in &devices {
        group.stop_playing();
    }
    groups.complete_final_task();
    sleep(FINAL_TASK_TIME).await;
    let connections = groups.connections() + devices.len() * usize::from(streams.devices);
    let mut outcomes = groups.settle().await?;
    for outcome in &mut outcomes {
        // The judge of a raid knows no other raid of its players.
        outcome.server_record.profiles.clear();
    }
    let expected: Vec<_> = outcomes
        .iter()
        .flat_map(|outcome| expected_effects(outcome.raid, &outcome.server_record.events))
        .collect();
    let settling = devices.into_iter().map(|group| {
        let grants = grants.remove(&group.player()).unwrap_or_default();
        group.settle(&expected, grants)
    });
    let settled = try_join_all(settling).await?;
    let (cases, device_counts): (Vec<_>, Vec<_>) = settled.into_iter().unzip();
    let lag_max = Duration::from_secs(streams.effect_seconds);
    let settled = SettledStreams {
        cases,
        expected,
        period: (played.from, played.to),
        backend,
        lag_max: (!disturb.is_any()).then_some(lag_max),
    };
    let mut report = played.report("players", play, &outcomes, (nodes.count(), disturb));
    report.connections = connections;
    for counts in device_counts.iter().flatten() {
        report.counted.add(counts);
    }
    settled.add_to(&mut report, &outcomes);
    Ok(report)
}

/// Connects every player's devices, and waits until each watches the player's stream.
async fn connect_devices(
    parties: &Parties,
    play: &SteadyLoadArgs,
    streams: &StreamLoadArgs,
    clock: RunClock,
) -> anyhow::Result<Vec<DeviceGroup>> {
    let mut groups = Vec::new();
    for player in parties.players() {
        let tokens = parties
            .sign_in_devices(player.id, streams.devices.into())
            .await?;
        let seed = play.seed.wrapping_add(u64::from(player.id) << 8);
        let rate = streams.settings_per_second;
        let plan = DevicePlan::new(player, tokens, parties.rest(), clock, rate, seed);
        groups.push(DeviceGroup::connect(plan));
    }
    let until = Instant::now() + CONNECT_TIMEOUT;
    while !groups.iter().all(DeviceGroup::has_connected) {
        anyhow::ensure!(
            Instant::now() < until,
            "not all devices watch their player's stream after {CONNECT_TIMEOUT:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
    Ok(groups)
}

/// Connects the backend to every node.
fn start_backend(
    parties: &Parties,
    groups: &BotGroups,
    play: &SteadyLoadArgs,
    streams: &StreamLoadArgs,
    clock: RunClock,
) -> anyhow::Result<Backend> {
    let nodes = parties.rest().targets().count();
    let ranked = groups.iter().filter(|group| group.is_ranked());
    // Contributions to the others would win them before their end.
    let credited = groups.iter().filter(|group| !group.is_winnable());
    let plan = BackendPlan {
        credited_raids: credited
            .map(|group| (group.raid(), group.players()))
            .collect(),
        ranked_raids: ranked.map(BotGroup::raid).collect(),
        contributions_per_second: streams.contributions_per_second / nodes as f64,
    };
    let decoder = Decoder::new();
    let mut connections = Vec::new();
    for index in 0..nodes {
        connections.push(PlayerOptions {
            client_name: format!("backend-{index}"),
            rest: parties.rest().with_home(index),
            tokens: parties.backend_tokens()?,
            codec: Codec::MessagePack,
            decoder: Arc::clone(&decoder),
            clock,
            jitter_seed: play.seed.wrapping_add(index as u64),
        });
    }
    Ok(Backend::start(plan, connections))
}
