//! A bus within one process: it connects instances that share it, and loses, repeats, reorders and cuts on demand, so
//! that the loops above it can be tested against a bus at its worst.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Bus, BusConnection, BusDown, BusInputSender, Channel, bus_input_queue};
use crate::store::InstanceId;

/// Where instances meet. Cheap to clone.
#[derive(Clone, Default)]
pub struct InProcessBroker(Arc<Mutex<InProcessBrokerState>>);

#[derive(Default)]
struct InProcessBrokerState {
    buses: Vec<Arc<InProcessBus>>,
    fault: Option<BusFault>,
    /// What a reordering holds back.
    held_back: VecDeque<(Channel, Bytes)>,
    published_count: u64,
}

/// What the exchange does to messages, until told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusFault {
    /// Every so-manieth is lost.
    DropEveryNth(u64),
    /// Each comes twice.
    Duplicate,
    /// Each comes after the one that was published behind it.
    Reorder,
}

/// One instance's end.
pub struct InProcessBus {
    broker: InProcessBroker,
    inputs: BusInputSender,
    channels: Mutex<HashSet<Channel>>,
    health: watch::Sender<bool>,
}

impl InProcessBroker {
    /// Connects an instance. Returns a handle for injecting faults, and the connection to start the instance with.
    pub fn connect(&self, instance: InstanceId) -> (Arc<InProcessBus>, BusConnection) {
        let (inputs, input) = bus_input_queue();
        let bus = Arc::new(InProcessBus {
            broker: self.clone(),
            inputs,
            channels: Mutex::new(HashSet::from([Channel::Inbox(instance)])),
            health: watch::Sender::new(true),
        });
        self.0.lock().buses.push(Arc::clone(&bus));
        let connection = BusConnection {
            bus: Arc::clone(&bus) as _,
            driver: Box::pin(std::future::pending()),
            input,
        };
        (bus, connection)
    }

    /// What happens to messages from now on; what was held back comes now.
    pub fn set_fault(&self, fault: Option<BusFault>) {
        let mut state = self.0.lock();
        state.fault = fault;
        while let Some((channel, message)) = state.held_back.pop_front() {
            state.deliver(channel, &message);
        }
    }

    fn publish(&self, channel: Channel, message: Bytes) -> u64 {
        let mut state = self.0.lock();
        state.published_count += 1;
        match state.fault {
            Some(BusFault::DropEveryNth(every)) if state.published_count.is_multiple_of(every) => 0,
            Some(BusFault::Duplicate) => {
                state.deliver(channel, &message) + state.deliver(channel, &message)
            }
            Some(BusFault::Reorder) => {
                state.held_back.push_back((channel, message));
                if state.held_back.len() < 2 {
                    return 0;
                }
                let mut count = 0;
                while let Some((channel, message)) = state.held_back.pop_back() {
                    count = state.deliver(channel, &message);
                }
                count
            }
            _ => state.deliver(channel, &message),
        }
    }
}

impl InProcessBrokerState {
    fn deliver(&self, channel: Channel, message: &Bytes) -> u64 {
        let hears = |station: &&Arc<InProcessBus>| {
            station.is_up() && station.channels.lock().contains(&channel)
        };
        let mut count = 0;
        for station in self.buses.iter().filter(hears) {
            // A message that finds no room leaves a mark instead.
            let _ = station.inputs.offer(channel, message.clone());
            count += 1;
        }
        count
    }
}

impl InProcessBus {
    /// Cuts this instance off from the others, or connects it again.
    pub fn set_disconnected(&self, cut: bool) {
        self.health.send_replace(!cut);
        if !cut {
            self.inputs.mark_all_lost();
        }
    }

    /// Takes this end away, as when its process dies.
    pub fn remove(&self) {
        self.set_disconnected(true);
        let mut state = self.broker.0.lock();
        state
            .buses
            .retain(|station| !std::ptr::eq(&raw const **station, &raw const *self));
    }

    fn is_up(&self) -> bool {
        *self.health.borrow()
    }
}

#[async_trait]
impl Bus for InProcessBus {
    fn publish(&self, channel: Channel, message: Bytes) -> bool {
        if self.is_up() {
            self.broker.publish(channel, message);
        }
        self.is_up()
    }

    async fn publish_counted(&self, channel: Channel, message: Bytes) -> Option<u64> {
        self.is_up().then(|| self.broker.publish(channel, message))
    }

    async fn subscribe(&self, channels: &[Channel]) -> Result<(), BusDown> {
        self.channels.lock().extend(channels);
        if self.is_up() { Ok(()) } else { Err(BusDown) }
    }

    fn unsubscribe(&self, channels: &[Channel]) {
        self.channels
            .lock()
            .retain(|channel| !channels.contains(channel));
    }

    fn watch_health(&self) -> watch::Receiver<bool> {
        self.health.subscribe()
    }
}
