//! A bus within one process. It connects instances that share a broker, and loses, repeats,
//! reorders or cuts off messages on demand, so that the loops above it can be tested against a bus
//! at its worst.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Bus, BusConnection, BusDown, BusInputSender, Channel, bus_input_queue};
use crate::store::InstanceId;

/// The broker that connects the instances of a test. Cheap to clone.
#[derive(Clone, Default)]
pub struct InProcessBroker(Arc<Mutex<InProcessBrokerState>>);

#[derive(Default)]
struct InProcessBrokerState {
    buses: Vec<Arc<InProcessBus>>,
    fault: Option<BusFault>,
    delays: Option<RandomDelays>,
    /// Messages held back by [`BusFault::Reorder`].
    held_back: VecDeque<(Channel, Bytes)>,
    published_count: u64,
}

/// A random delay for each message to each instance. Messages to one instance keep their order.
struct RandomDelays {
    rng: StdRng,
    milliseconds: Range<u64>,
}

/// A message that arrives at an instance later.
type DelayedMessage = (Instant, Channel, Bytes);

/// Fault that the broker applies to messages until the fault is replaced or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusFault {
    /// Drops every n-th message.
    DropEveryNth(u64),
    /// Delivers every message twice.
    Duplicate,
    /// Delivers messages in pairs, the later one first.
    Reorder,
}

/// One instance's connection to the broker.
pub struct InProcessBus {
    /// The broker that the instance is connected to.
    broker: Mutex<InProcessBroker>,
    /// The broker to which [`Bus::reconnect`] leads.
    configured_broker: InProcessBroker,
    inputs: BusInputSender,
    delayed: mpsc::UnboundedSender<DelayedMessage>,
    channels: Mutex<HashSet<Channel>>,
    health: watch::Sender<bool>,
}

impl InProcessBroker {
    /// Connects an instance. Returns a handle for injecting faults, and the connection to start the
    /// instance with.
    pub fn connect(&self, instance: InstanceId) -> (Arc<InProcessBus>, BusConnection) {
        let (inputs, input) = bus_input_queue();
        let (delayed, delayed_messages) = mpsc::unbounded_channel();
        let bus = Arc::new(InProcessBus {
            broker: Mutex::new(self.clone()),
            configured_broker: self.clone(),
            inputs,
            delayed,
            channels: Mutex::new(HashSet::from([Channel::Inbox(instance)])),
            health: watch::Sender::new(true),
        });
        self.0.lock().buses.push(Arc::clone(&bus));
        let connection = BusConnection {
            bus: Arc::clone(&bus) as _,
            driver: Box::pin(deliver_delayed(Arc::clone(&bus), delayed_messages)),
            input,
        };
        (bus, connection)
    }

    /// Sets or removes the fault. Messages that were held back are delivered now.
    pub fn set_fault(&self, fault: Option<BusFault>) {
        let mut state = self.0.lock();
        state.fault = fault;
        while let Some((channel, message)) = state.held_back.pop_front() {
            state.deliver(channel, &message);
        }
    }

    /// Delays every message to each instance from now on.
    pub fn set_delays(&self, rng: StdRng, milliseconds: Range<u64>) {
        self.0.lock().delays = Some(RandomDelays { rng, milliseconds });
    }

    /// Returns how many instances subscribe to the channel, whatever becomes of the message: so does
    /// Redis.
    fn publish(&self, channel: Channel, message: Bytes) -> u64 {
        let mut state = self.0.lock();
        let receivers = state.buses.iter().filter(|bus| bus.receives(channel));
        let count = receivers.count() as u64;
        if message.is_empty() {
            // It only counts the receivers; no fault hits it instead of a message that matters.
            state.deliver(channel, &message);
            return count;
        }
        state.published_count += 1;
        match state.fault {
            Some(BusFault::DropEveryNth(every)) if state.published_count.is_multiple_of(every) => {}
            Some(BusFault::Duplicate) => {
                state.deliver(channel, &message);
                state.deliver(channel, &message);
            }
            Some(BusFault::Reorder) => {
                state.held_back.push_back((channel, message));
                if state.held_back.len() == 2 {
                    while let Some((channel, message)) = state.held_back.pop_back() {
                        state.deliver(channel, &message);
                    }
                }
            }
            _ => state.deliver(channel, &message),
        }
        count
    }
}

impl InProcessBrokerState {
    fn deliver(&mut self, channel: Channel, message: &Bytes) {
        for bus in self.buses.iter().filter(|bus| bus.receives(channel)) {
            match &mut self.delays {
                Some(RandomDelays { rng, milliseconds }) => {
                    let delay = Duration::from_millis(rng.random_range(milliseconds.clone()));
                    // The receiver is gone if the instance has ended.
                    let _ = bus
                        .delayed
                        .send((Instant::now() + delay, channel, message.clone()));
                }
                None => bus.offer(channel, message.clone()),
            }
        }
    }
}

impl InProcessBus {
    /// Cuts this instance off from the others, or reconnects it.
    pub fn set_disconnected(&self, disconnected: bool) {
        let was_up = self.health.send_replace(!disconnected);
        if !disconnected && !was_up {
            self.inputs.mark_all_lost();
        }
    }

    /// Removes this instance from the broker, as when its process dies.
    pub fn remove(&self) {
        self.set_disconnected(true);
        self.leave();
    }

    /// Connects this instance to another broker until it reconnects, as when two Redis servers
    /// consider themselves master.
    pub fn connect_to(&self, broker: &InProcessBroker) {
        let this = self.leave();
        broker.0.lock().buses.extend(this);
        *self.broker.lock() = broker.clone();
        self.inputs.mark_all_lost();
    }

    fn leave(&self) -> Option<Arc<InProcessBus>> {
        let broker = self.broker();
        let mut state = broker.0.lock();
        let is_this = |bus: &mut Arc<Self>| std::ptr::eq(&raw const **bus, &raw const *self);
        state.buses.extract_if(.., is_this).next()
    }

    fn broker(&self) -> InProcessBroker {
        self.broker.lock().clone()
    }

    fn is_up(&self) -> bool {
        *self.health.borrow()
    }

    fn receives(&self, channel: Channel) -> bool {
        self.is_up() && self.channels.lock().contains(&channel)
    }

    fn offer(&self, channel: Channel, message: Bytes) {
        // A full queue drops the message and marks its channel as lost.
        let _ = self.inputs.offer(channel, message);
    }
}

/// Delivers delayed messages in their order, each once its time has come.
async fn deliver_delayed(
    bus: Arc<InProcessBus>,
    mut messages: mpsc::UnboundedReceiver<DelayedMessage>,
) {
    while let Some((at, channel, message)) = messages.recv().await {
        sleep_until(at).await;
        if bus.receives(channel) {
            bus.offer(channel, message);
        }
    }
}

#[async_trait]
impl Bus for InProcessBus {
    fn publish(&self, channel: Channel, message: Bytes) -> bool {
        if self.is_up() {
            self.broker().publish(channel, message);
        }
        self.is_up()
    }

    async fn publish_counted(&self, channel: Channel, message: Bytes) -> Option<u64> {
        self.is_up()
            .then(|| self.broker().publish(channel, message))
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

    fn reconnect(&self) {
        self.connect_to(&self.configured_broker);
    }

    fn watch_health(&self) -> watch::Receiver<bool> {
        self.health.subscribe()
    }
}
