//! A device of each player that changes the player's settings, while the projector adds to the same
//! stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::player::{PlayerCommand, PlayerEvent, PlayerEventData};
use raidhall_protocol::{OpKey, PlayerId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::cluster::{self, SimulatedCluster};
use super::plan::Plan;

/// How long a device tries to send a change.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);
/// The setting that devices change.
const SETTING: &str = "app.device";

/// The devices of all players, until they are stopped.
pub(super) struct Devices {
    tasks: JoinSet<DeviceLog>,
    has_ended: Arc<AtomicBool>,
}

/// What a device sent.
pub(super) struct DeviceLog {
    player: PlayerId,
    /// The values, in the order of sending, each with whether it was acknowledged.
    sent: Vec<(u64, bool)>,
}

impl Devices {
    /// Starts a device of each of the first players who signed in, as many as the groups have, if the
    /// plan has devices.
    pub(super) fn start(plan: &Plan, cluster: &SimulatedCluster) -> Devices {
        let has_ended = Arc::<AtomicBool>::default();
        let mut tasks = JoinSet::new();
        let players = if plan.has_devices {
            (plan.raids * plan.players) as u64
        } else {
            0
        };
        for number in 1..=players {
            let player = PlayerId::try_from(number).expect("an id");
            let rest = RestClient::with_targets(cluster.targets()).expect("a client");
            let rest = rest
                .with_token(&cluster::player_token(player))
                .with_retry_timeout(SEND_TIME_MAX);
            let rng = StdRng::seed_from_u64(plan.seed.wrapping_add(number << 32));
            tasks.spawn(change_settings(player, rest, rng, Arc::clone(&has_ended)));
        }
        Devices { tasks, has_ended }
    }

    /// Lets the devices end, and returns what they sent.
    pub(super) async fn stop(self) -> Vec<DeviceLog> {
        self.has_ended.store(true, Ordering::Relaxed);
        self.tasks.join_all().await
    }
}

async fn change_settings(
    player: PlayerId,
    rest: RestClient,
    mut rng: StdRng,
    has_ended: Arc<AtomicBool>,
) -> DeviceLog {
    let mut sent = Vec::new();
    while !has_ended.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(rng.random_range(200..1_500))).await;
        let value = sent.len() as u64;
        let command = PlayerCommand::SetSetting {
            key: SETTING.to_owned(),
            value: value.into(),
            if_version: None,
        };
        let op = OpKey::try_from(format!("device-{value}")).expect("an op");
        let answer = rest.send_player_command(&op, &command).await;
        sent.push((value, answer.is_ok()));
    }
    DeviceLog { player, sent }
}

impl DeviceLog {
    pub(super) const fn player(&self) -> PlayerId {
        self.player
    }

    /// Returns what is wrong with the changes in the player's stream: each that was acknowledged is
    /// there once, and no other more than once.
    pub(super) fn check(&self, stream: &[PlayerEvent]) -> Vec<String> {
        let values: Vec<_> = stream.iter().filter_map(changed_value).collect();
        let mut violations = Vec::new();
        for (value, is_acked) in &self.sent {
            let count = values.iter().filter(|found| *found == value).count();
            if count > 1 || (count == 0 && *is_acked) {
                let player = self.player;
                violations.push(format!(
                    "change {value} of player {player} (acknowledged: {is_acked}) is {count} times in their stream"
                ));
            }
        }
        violations
    }
}

fn changed_value(event: &PlayerEvent) -> Option<u64> {
    match &event.data {
        PlayerEventData::SettingSet { key, value, .. } if key == SETTING => value.as_u64(),
        _ => None,
    }
}
