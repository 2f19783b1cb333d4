//! Polls the store once a second for bans and sign-outs: one indexed read, whatever the number of
//! players. The store is the only source, so an instance misses nothing that the store knows.
//!
//! While the store cannot be read, the last known state applies: banned players stay out, all
//! others are admitted. Their access tokens expire anyway, and nothing durable can happen without
//! the store. After a pause longer than half the retention of notices, the poller loads everything
//! again.

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

/// Interval between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Bans read at once when all bans are loaded.
const BANS_PAGE_ROWS: u32 = 10_000;
/// Longest pause between two polls; after a longer one, notices may have been deleted unread.
const POLL_GAP_MAX: Duration = Duration::from_secs(NOTICE_RETENTION.as_secs() / 2);

/// Keeps [`Auth`] informed of bans and sign-outs.
pub struct RevocationPoller {
    store: Arc<dyn Store>,
    auth: Auth,
    clock: Arc<Clock>,
    notice_cursor: u64,
    /// Numbers of the notices of the latest poll, which the next one may return again.
    seen_notices: HashSet<u64>,
    polled_at: Instant,
}

impl RevocationPoller {
    /// Loads all bans and recent notices.
    ///
    /// # Errors
    ///
    /// When the store fails. No client may be admitted before this has succeeded.
    pub async fn load(
        store: Arc<dyn Store>,
        auth: Auth,
        clock: Arc<Clock>,
    ) -> Result<RevocationPoller, StoreError> {
        let began = Instant::now();
        let mut poller = RevocationPoller {
            store,
            auth,
            clock,
            notice_cursor: 0,
            seen_notices: HashSet::new(),
            polled_at: began,
        };
        poller.load_all().await?;
        Ok(poller)
    }

    /// Polls until dropped, every second and on request, and passes the sessions to be closed to
    /// `close`.
    pub async fn run(mut self, close: impl Fn(&RevokedSessions)) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! { biased;
                _ = ticks.tick() => {}
                () = self.auth.poll_requested() => {}
            }
            match self.poll().await {
                Ok(revoked) => {
                    failing = false;
                    if !revoked.is_empty() {
                        close(&revoked);
                    }
                }
                Err(error) if !failing => {
                    failing = true;
                    warn!(
                        ?error,
                        "reading bans and sign-outs failed; the known ones stay in force"
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
        let found = self
            .store
            .notices(self.notice_cursor, self.clock.now())
            .await?;
        let seen = std::mem::take(&mut self.seen_notices);
        self.seen_notices = found.notices.iter().map(|(number, _)| *number).collect();
        self.notice_cursor = found.next;
        self.polled_at = began;
        let fresh = found
            .notices
            .into_iter()
            .filter(|(number, _)| !seen.contains(number));
        let fresh: Vec<Notice> = fresh.map(|(_, notice)| notice).collect();
        self.auth.apply_notices(&fresh, self.clock.now());
        Ok(RevokedSessions::from_notices(fresh))
    }

    /// Loads notices before bans: a change in between is among the next notices.
    async fn load_all(&mut self) -> Result<RevokedSessions, StoreError> {
        let began = Instant::now();
        let found = self.store.notices(0, self.clock.now()).await?;
        let mut banned = HashSet::new();
        let mut after = None;
        loop {
            let bans = self.store.bans(after, BANS_PAGE_ROWS).await?;
            let is_full_page = bans.len() == BANS_PAGE_ROWS as usize;
            after = bans.last().map(|ban| ban.player.id);
            banned.extend(bans.into_iter().map(|ban| ban.player.id));
            if !is_full_page {
                break;
            }
        }
        let bans = banned.iter().map(|player| Notice::BanChanged {
            player: *player,
            banned: true,
        });
        let ended = found.notices.iter().map(|(_, notice)| *notice);
        let revoked = RevokedSessions::from_notices(ended.chain(bans));
        let signed_out = found.notices.iter().map(|(_, notice)| *notice);
        self.auth
            .replace_revocations(banned, signed_out.collect(), self.clock.now());
        self.seen_notices = found
            .notices
            .into_iter()
            .map(|(number, _)| number)
            .collect();
        self.notice_cursor = found.next;
        self.polled_at = began;
        Ok(revoked)
    }
}
