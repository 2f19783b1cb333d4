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
use super::revoked_sessions::RevokedSessions;
use crate::clock::Clock;
use crate::store::moderation::NOTICE_RETENTION;
use crate::store::{Notice, Store, StoreError};
use crate::telemetry::metrics;

/// How often the store is looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Bans read at once, when all are.
const BANS_PAGE_ROWS: u32 = 10_000;
/// After so long without a look, what was missed may be forgotten already.
const POLL_GAP_MAX: Duration = Duration::from_secs(NOTICE_RETENTION.as_secs() / 2);

/// Keeps [`Auth`] informed of who may not come in.
pub struct RevocationPoller {
    store: Arc<dyn Store>,
    auth: Auth,
    clock: Arc<Clock>,
    notice_cursor: u64,
    /// The numbers of the notices of the latest look: they may come once more.
    seen_notices: HashSet<u64>,
    polled_at: Instant,
}

impl RevocationPoller {
    /// Learns all that there is to know.
    ///
    /// # Errors
    ///
    /// When the store fails: nobody should be let in before.
    pub async fn load(
        store: Arc<dyn Store>,
        auth: Auth,
        clock: Arc<Clock>,
    ) -> Result<RevocationPoller, StoreError> {
        let looked = Instant::now();
        let mut lookout = RevocationPoller {
            store,
            auth,
            clock,
            notice_cursor: 0,
            seen_notices: HashSet::new(),
            polled_at: looked,
        };
        lookout.load_all().await?;
        Ok(lookout)
    }

    /// Looks until dropped. `close` is told whose connections have to end.
    pub async fn run(mut self, close: impl Fn(&RevokedSessions)) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.auth.poll_requested() => {}
            }
            match self.poll().await {
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
                .set(self.polled_at.elapsed().as_secs_f64());
        }
    }

    async fn poll(&mut self) -> Result<RevokedSessions, StoreError> {
        if self.polled_at.elapsed() > POLL_GAP_MAX {
            return self.load_all().await;
        }
        let began = Instant::now();
        let found = self.store.notices(self.notice_cursor).await?;
        let seen = std::mem::take(&mut self.seen_notices);
        self.seen_notices = found.notices.iter().map(|(number, _)| *number).collect();
        self.notice_cursor = found.next;
        self.polled_at = began;
        let fresh = found
            .notices
            .into_iter()
            .filter(|(number, _)| !seen.contains(number));
        let fresh: Vec<Notice> = fresh.map(|(_, notice)| notice).collect();
        self.auth
            .apply_notices(fresh.iter().copied(), self.clock.now());
        Ok(RevokedSessions::from_notices(fresh))
    }

    /// Notices first, then bans: what changes in between comes with the next notices.
    async fn load_all(&mut self) -> Result<RevokedSessions, StoreError> {
        let began = Instant::now();
        let found = self.store.notices(0).await?;
        let mut banned = HashSet::new();
        let mut after = None;
        loop {
            let bans = self.store.bans(after, BANS_PAGE_ROWS).await?;
            let whole = bans.len() == BANS_PAGE_ROWS as usize;
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
        let unwelcome = RevokedSessions::from_notices(ended.chain(at_large));
        let signed_out = found.notices.iter().map(|(_, notice)| *notice);
        self.auth
            .replace_revocations(banned, signed_out.collect(), self.clock.now());
        self.seen_notices = found
            .notices
            .into_iter()
            .map(|(number, _)| number)
            .collect();
        (self.notice_cursor, self.polled_at) = (found.next, began);
        Ok(unwelcome)
    }
}
