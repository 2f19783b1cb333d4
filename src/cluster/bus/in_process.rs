//! A bus within one process: it connects instances that share it, and loses, repeats, reorders and cuts on demand, so
//! that the loops above it can be tested against a bus at its worst.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Bus, BusDown, Channel, Deliveries, Intake, intake};

/// Where instances meet. Cheap to clone.
#[derive(Clone, Default)]
pub struct Exchange(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stations: Vec<Arc<Station>>,
    fault: Option<Fault>,
    /// What a reordering holds back.
    held: VecDeque<(Channel, Bytes)>,
    published: u64,
}

/// What the exchange does to messages, until told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every so-manieth is lost.
    Lose(u64),
    /// Each comes twice.
    Repeat,
    /// Each comes after the one that was published behind it.
    Reorder,
}

/// One instance's end.
pub struct Station {
    exchange: Exchange,
    intake: Intake,
    wanted: Mutex<HashSet<Channel>>,
    proven: watch::Sender<bool>,
}

impl Exchange {
    /// One more end, for an instance.
    pub fn connect(&self) -> (Arc<Station>, Deliveries) {
        let (intake, deliveries) = intake();
        let (exchange, wanted, proven) = (self.clone(), Mutex::default(), watch::Sender::new(true));
        let station = Arc::new(Station {
            exchange,
            intake,
            wanted,
            proven,
        });
        self.0.lock().stations.push(Arc::clone(&station));
        (station, deliveries)
    }

    /// What happens to messages from now on; what was held back comes now.
    pub fn fault(&self, fault: Option<Fault>) {
        let mut state = self.0.lock();
        state.fault = fault;
        while let Some((channel, message)) = state.held.pop_front() {
            state.deliver(channel, &message);
        }
    }

    fn publish(&self, channel: Channel, message: Bytes) -> u64 {
        let mut state = self.0.lock();
        state.published += 1;
        match state.fault {
            Some(Fault::Lose(every)) if state.published.is_multiple_of(every) => 0,
            Some(Fault::Repeat) => {
                state.deliver(channel, &message) + state.deliver(channel, &message)
            }
            Some(Fault::Reorder) => {
                state.held.push_back((channel, message));
                if state.held.len() < 2 {
                    return 0;
                }
                let mut count = 0;
                while let Some((channel, message)) = state.held.pop_back() {
                    count = state.deliver(channel, &message);
                }
                count
            }
            _ => state.deliver(channel, &message),
        }
    }
}

impl State {
    fn deliver(&self, channel: Channel, message: &Bytes) -> u64 {
        let hears =
            |station: &&Arc<Station>| station.is_up() && station.wanted.lock().contains(&channel);
        let mut count = 0;
        for station in self.stations.iter().filter(hears) {
            // A message that finds no room leaves a mark instead.
            let _ = station.intake.offer(channel, message.clone());
            count += 1;
        }
        count
    }
}

impl Station {
    /// Cuts this instance off from the others, or connects it again.
    pub fn cut(&self, cut: bool) {
        self.proven.send_replace(!cut);
        if !cut {
            self.intake.lost_all();
        }
    }

    /// Takes this end away, as when its process dies.
    pub fn leave(&self) {
        self.cut(true);
        let mut state = self.exchange.0.lock();
        state
            .stations
            .retain(|station| !std::ptr::eq(&raw const **station, &raw const *self));
    }

    fn is_up(&self) -> bool {
        *self.proven.borrow()
    }
}

#[async_trait]
impl Bus for Station {
    fn publish(&self, channel: Channel, message: Bytes) -> bool {
        if self.is_up() {
            self.exchange.publish(channel, message);
        }
        self.is_up()
    }

    async fn publish_counted(&self, channel: Channel, message: Bytes) -> Option<u64> {
        self.is_up()
            .then(|| self.exchange.publish(channel, message))
    }

    async fn subscribe(&self, channels: &[Channel]) -> Result<(), BusDown> {
        self.wanted.lock().extend(channels);
        if self.is_up() { Ok(()) } else { Err(BusDown) }
    }

    fn unsubscribe(&self, channels: &[Channel]) {
        self.wanted
            .lock()
            .retain(|channel| !channels.contains(channel));
    }

    fn proven(&self) -> watch::Receiver<bool> {
        self.proven.subscribe()
    }
}
