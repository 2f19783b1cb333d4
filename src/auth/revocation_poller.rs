//! Looks at the store once a second for whoever may not come in any more: one indexed read, whatever the number of
//! players. Nothing else tells an instance, so nothing is missed that the store knows.
//!
//! While the store cannot be read, what was known holds: who was banned stays so, and who was not is let in. Their tokens
//! end by themselves, and nothing durable can be done without the store anyway. An instance that could not look for longer
//! than notices are kept begins anew.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::Auth;
use super::revoked_sessions::Unwelcome;
use crate::clock::Clock;
use crate::store::moderation::NOTICE_RETENTION;
use crate::store::{Notice, Store, StoreError};
use crate::telemetry::metrics;

/// How often the store is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Bans read at once, when all are.
const BANS: u32 = 10_000;
/// After so long without a look, what was missed may be forgotten already.
const MISSED: Duration = Duration::from_secs(NOTICE_RETENTION.as_secs() / 2);

/// Keeps [`Auth`] informed of who may not come in.
pub struct Lookout {
    store: Arc<dyn Store>,
    auth: Auth,
    clock: Arc<Clock>,
    after: u64,
    /// The numbers of the notices of the latest look: they may come once more.
    seen: HashSet<u64>,
    looked: Instant,
}

impl Lookout {
    /// Learns all that there is to know.
    ///
    /// # Errors
    ///
    /// When the store fails: nobody should be let in before.
    pub async fn begin(
        store: Arc<dyn Store>,
        auth: Auth,
        clock: Arc<Clock>,
    ) -> Result<Lookout, StoreError> {
        let looked = Instant::now();
        let mut lookout = Lookout {
            store,
            auth,
            clock,
            after: 0,
            seen: HashSet::new(),
            looked,
        };
        lookout.learn_all().await?;
        Ok(lookout)
    }

    /// Looks until dropped. `close` is told whose connections have to end.
    pub async fn run(mut self, close: impl Fn(&Unwelcome)) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.auth.changed() => {}
            }
            match self.look().await {
                Ok(unwelcome) => {
                    failing = false;
                    if !unwelcome.is_empty() {
                        close(&unwelcome);
                    }
                }
                Err(error) if !failing => {
                    failing = true;
                    warn!(
                        ?error,
                        "bans and sign-outs cannot be read; those known hold"
                    );
                }
                Err(_) => {}
            }
            metrics()
                .revocations_age
                .set(self.looked.elapsed().as_secs_f64());
        }
    }

    async fn look(&mut self) -> Result<Unwelcome, StoreError> {
        if self.looked.elapsed() > MISSED {
            return self.learn_all().await;
        }
        let began = Instant::now();
        let found = self.store.notices(self.after).await?;
        let seen = std::mem::take(&mut self.seen);
        self.seen = found.notices.iter().map(|(number, _)| *number).collect();
        self.after = found.next;
        self.looked = began;
        let fresh = found
            .notices
            .into_iter()
            .filter(|(number, _)| !seen.contains(number));
        let fresh: Vec<Notice> = fresh.map(|(_, notice)| notice).collect();
        self.auth.learn(fresh.iter().copied(), self.clock.now());
        Ok(Unwelcome::of(fresh))
    }

    /// Notices first, then bans: what changes in between comes with the next notices.
    async fn learn_all(&mut self) -> Result<Unwelcome, StoreError> {
        let began = Instant::now();
        let found = self.store.notices(0).await?;
        let mut banned = HashSet::new();
        let mut after = None;
        loop {
            let bans = self.store.bans(after, BANS).await?;
            let whole = bans.len() == BANS as usize;
            after = bans.last().map(|ban| ban.player.id);
            banned.extend(bans.into_iter().map(|ban| ban.player.id));
            if !whole {
                break;
            }
        }
        let at_large = banned.iter().map(|player| Notice::BanChanged {
            player: *player,
            banned: true,
        });
        let ended = found.notices.iter().map(|(_, notice)| *notice);
        let unwelcome = Unwelcome::of(ended.chain(at_large));
        let signed_out = found.notices.iter().map(|(_, notice)| *notice);
        self.auth
            .learn_anew(banned, signed_out.collect(), self.clock.now());
        self.seen = found
            .notices
            .into_iter()
            .map(|(number, _)| number)
            .collect();
        (self.after, self.looked) = (found.next, began);
        Ok(unwelcome)
    }
}
