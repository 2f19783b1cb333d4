//! Subscriptions of the bus: the wanted channels, the confirmed ones, and the callers that wait for
//! a confirmation.
//!
//! The latest request wins: changes are not replayed; instead the set of wanted channels is
//! compared with the set of confirmed ones. A round takes all channels that have changed and all
//! waiting callers, sends the commands that make the server agree, and then answers the callers.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::super::{BusDown, Channel};

/// The wanted and the confirmed channels of one bus.
pub(super) struct Subscriptions {
    /// Channel that is always wanted: the instance's inbox.
    permanent_channel: Channel,
    state: Mutex<SubscriptionState>,
    changed: Notify,
}

#[derive(Default)]
struct SubscriptionState {
    phase: ConnectionPhase,
    wanted: HashSet<Channel>,
    /// Channels that the server has confirmed and that were not unsubscribed since.
    confirmed: HashSet<Channel>,
    /// Channels that may differ between the two sets since the latest round.
    changed: HashSet<Channel>,
    waiters: Vec<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum ConnectionPhase {
    /// There is no connection.
    #[default]
    Down,
    /// The wanted channels are being subscribed on a new connection.
    Subscribing,
    /// The bus is healthy, and changes are sent in rounds.
    Up,
}

/// One round: the changes to send to the server, and the callers that wait for them.
pub(super) struct SubscriptionDiff {
    pub(super) subscribe: Vec<Channel>,
    pub(super) unsubscribe: Vec<Channel>,
    waiters: Vec<oneshot::Sender<()>>,
}

impl Subscriptions {
    /// Creates a set in which one channel is always wanted.
    pub(super) fn new(permanent_channel: Channel) -> Self {
        let state = SubscriptionState {
            wanted: HashSet::from([permanent_channel]),
            ..SubscriptionState::default()
        };
        Self {
            permanent_channel,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// Adds channels to the wanted ones. Returns `None` if all of them are confirmed already, and
    /// else a receiver for their confirmation, which fails if the connection is lost.
    pub(super) fn subscribe(
        &self,
        channels: &[Channel],
    ) -> Result<Option<oneshot::Receiver<()>>, BusDown> {
        let mut state = self.state.lock();
        state.wanted.extend(channels);
        if state.phase == ConnectionPhase::Down {
            return Err(BusDown);
        }
        let missing: Vec<_> = channels
            .iter()
            .filter(|it| !state.confirmed.contains(it))
            .copied()
            .collect();
        if missing.is_empty() {
            return Ok(None);
        }
        state.changed.extend(missing);
        if state.phase == ConnectionPhase::Subscribing {
            return Err(BusDown);
        }
        let (confirm, confirmed) = oneshot::channel();
        state.waiters.push(confirm);
        self.changed.notify_one();
        Ok(Some(confirmed))
    }

    /// Removes channels from the wanted ones.
    pub(super) fn unsubscribe(&self, channels: &[Channel]) {
        let mut state = self.state.lock();
        for channel in channels.iter().filter(|it| **it != self.permanent_channel) {
            if state.wanted.remove(channel) && state.phase != ConnectionPhase::Down {
                state.changed.insert(*channel);
            }
        }
        self.changed.notify_one();
    }

    /// Returns whether the server has confirmed a channel that was not unsubscribed since.
    pub(super) fn is_confirmed(&self, channel: Channel) -> bool {
        self.state.lock().confirmed.contains(&channel)
    }

    /// Begins with a new connection: returns the channels to subscribe on it.
    pub(super) fn begin_resubscribe(&self) -> Vec<Channel> {
        let mut state = self.state.lock();
        state.phase = ConnectionPhase::Subscribing;
        state.wanted.iter().copied().collect()
    }

    /// Records that the server has confirmed these channels on the new connection.
    pub(super) fn finish_resubscribe(&self, channels: Vec<Channel>) {
        let mut state = self.state.lock();
        state.phase = ConnectionPhase::Up;
        state.confirmed.extend(channels);
        self.changed.notify_one();
    }

    /// Records that the connection is gone, which fails all waiting callers.
    pub(super) fn reset(&self) {
        let mut state = self.state.lock();
        let wanted = std::mem::take(&mut state.wanted);
        *state = SubscriptionState {
            wanted,
            ..SubscriptionState::default()
        };
    }

    /// Returns the next round, once there is something to do. Nothing is lost if the future is
    /// dropped before it returns one.
    pub(super) async fn next_diff(&self) -> SubscriptionDiff {
        loop {
            self.changed.notified().await;
            if let Some(round) = self.state.lock().take_diff() {
                return round;
            }
        }
    }

    /// Records that the server has confirmed the round, and answers the callers that wait for it.
    pub(super) fn confirm(&self, round: SubscriptionDiff) {
        self.state.lock().confirmed.extend(round.subscribe);
        for waiting in round.waiters {
            // The caller may have stopped waiting.
            let _ = waiting.send(());
        }
    }
}

impl SubscriptionState {
    fn take_diff(&mut self) -> Option<SubscriptionDiff> {
        if self.phase != ConnectionPhase::Up || (self.changed.is_empty() && self.waiters.is_empty())
        {
            return None;
        }
        let mut round = SubscriptionDiff {
            subscribe: Vec::new(),
            unsubscribe: Vec::new(),
            waiters: std::mem::take(&mut self.waiters),
        };
        for channel in self.changed.drain() {
            if self.wanted.contains(&channel) {
                if !self.confirmed.contains(&channel) {
                    round.subscribe.push(channel);
                }
            } else if self.confirmed.remove(&channel) {
                round.unsubscribe.push(channel);
            }
        }
        Some(round)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use raidhall_protocol::RaidId;
    use uuid::Uuid;

    use super::*;
    use crate::store::InstanceId;

    const INBOX: Channel = Channel::Inbox(InstanceId(Uuid::nil()));

    fn raid(id: u64) -> Channel {
        Channel::Events(RaidId::try_from(id).expect("an id"))
    }

    fn up() -> Subscriptions {
        let subscriptions = Subscriptions::new(INBOX);
        let channels = subscriptions.begin_resubscribe();
        subscriptions.finish_resubscribe(channels);
        subscriptions
    }

    fn round(subscriptions: &Subscriptions) -> Option<SubscriptionDiff> {
        subscriptions.next_diff().now_or_never()
    }

    #[test]
    fn one_round_confirms_all_waiting_subscribers() {
        let subscriptions = up();
        let mut first = subscriptions
            .subscribe(&[raid(1), raid(2)])
            .expect("up")
            .expect("not confirmed");
        let mut second = subscriptions
            .subscribe(&[raid(2), raid(3)])
            .expect("up")
            .expect("not confirmed");
        let round = round(&subscriptions).expect("a round");
        assert_eq!(
            round.subscribe.iter().copied().collect::<HashSet<_>>(),
            (1..=3).map(raid).collect()
        );
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        subscriptions.confirm(round);
        assert!(first.try_recv().is_ok() && second.try_recv().is_ok());
        assert!(
            matches!(subscriptions.subscribe(&[raid(2)]), Ok(None)),
            "confirmed already"
        );
    }

    #[test]
    fn the_latest_subscription_request_wins_over_a_round_in_flight() {
        let subscriptions = up();
        let _waits = subscriptions.subscribe(&[raid(1)]);
        let subscribing = round(&subscriptions).expect("a round");
        subscriptions.unsubscribe(&[raid(1)]);
        subscriptions.confirm(subscribing);
        let unsubscribing = round(&subscriptions).expect("a round");
        assert_eq!(
            (unsubscribing.subscribe.len(), &*unsubscribing.unsubscribe),
            (0, &[raid(1)][..])
        );
        let mut confirmed = subscriptions
            .subscribe(&[raid(1)])
            .expect("up")
            .expect("not confirmed");
        subscriptions.confirm(unsubscribing);
        assert!(confirmed.try_recv().is_err(), "that was the unsubscription");
        let again = round(&subscriptions).expect("a round");
        assert_eq!(again.subscribe, [raid(1)]);
        subscriptions.confirm(again);
        assert!(confirmed.try_recv().is_ok());
    }

    #[test]
    fn a_subscription_withdrawn_before_its_round_sends_no_command() {
        let subscriptions = up();
        let mut confirmed = subscriptions
            .subscribe(&[raid(1)])
            .expect("up")
            .expect("not confirmed");
        subscriptions.unsubscribe(&[raid(1)]);
        let round = round(&subscriptions).expect("a caller waits");
        assert!(round.subscribe.is_empty() && round.unsubscribe.is_empty());
        subscriptions.confirm(round);
        assert!(confirmed.try_recv().is_ok());
    }

    #[test]
    fn wanted_channels_outlive_the_connection_but_waiters_do_not() {
        let subscriptions = up();
        let mut confirmed = subscriptions
            .subscribe(&[raid(1)])
            .expect("up")
            .expect("not confirmed");
        subscriptions.reset();
        assert_eq!(
            confirmed.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        );
        assert_eq!(subscriptions.subscribe(&[raid(2)]).err(), Some(BusDown));
        subscriptions.unsubscribe(&[raid(1), INBOX]);
        let channels: HashSet<_> = subscriptions.begin_resubscribe().into_iter().collect();
        assert_eq!(channels, HashSet::from([raid(2), INBOX]));
        assert_eq!(
            subscriptions.subscribe(&[raid(3)]).err(),
            Some(BusDown),
            "not healthy yet"
        );
        subscriptions.unsubscribe(&[raid(2)]);
        subscriptions.finish_resubscribe(channels.into_iter().collect());
        let round = round(&subscriptions).expect("a round");
        assert_eq!(
            (&*round.subscribe, &*round.unsubscribe),
            (&[raid(3)][..], &[raid(2)][..])
        );
    }
}
