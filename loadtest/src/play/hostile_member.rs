//! A hostile member: a player of the raid who sends far more than the server admits and reads little
//! of what it answers.

use std::time::Duration;

use raidhall_protocol::{Command, RaidId};
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::bot_group::GroupStage;
use crate::client::Player;

/// Requests that are sent at once.
const BURST: usize = 20;
/// Time between two bursts. One message is read in that time.
const PAUSE: Duration = Duration::from_millis(400);

#[derive(Debug)]
pub(super) struct HostileMember {
    pub(super) player: Player,
    pub(super) raid: RaidId,
    pub(super) rng: SmallRng,
    pub(super) stage: watch::Receiver<GroupStage>,
}

impl HostileMember {
    /// Floods the raid until the group sends nothing more.
    pub(super) async fn run(mut self) {
        self.player.watch(self.raid).await;
        let floods = |stage: &GroupStage| {
            matches!(
                stage,
                GroupStage::Connect | GroupStage::Play | GroupStage::CompleteFinalTask
            )
        };
        while floods(&self.stage.borrow_and_update().clone()) {
            for _ in 0..BURST {
                self.send_request().await;
            }
            self.player.step(Instant::now()).await;
            sleep(PAUSE).await;
        }
        self.player.disconnect().await;
    }

    async fn send_request(&mut self) {
        let raid = self.raid;
        match self.rng.random_range(0..10) {
            0 => self.player.watch(raid).await,
            1..5 => self.player.send_signal(raid, "cursor").await,
            _ => {
                let text = "again and again".to_owned();
                self.player.send_command(raid, Command::Say { text }).await;
            }
        }
    }
}
