//! A bus within one process. It connects instances that share a broker, and loses, repeats,
//! reorders or cuts off messages on demand, so that the loops above it can be tested against a bus
//! at its worst.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

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
    /// Messages held back by [`BusFault::Reorder`], and their senders.
    held_back: VecDeque<(InstanceId, Channel, Bytes)>,
    published_count: u64,
}

/// A random delay for each message to each instance, and for each subscription.
struct RandomDelays {
    rng: StdRng,
    milliseconds: Range<u64>,
}

impl RandomDelays {
    fn draw(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(self.milliseconds.clone()))
    }
}

/// The messages that are on their way to an instance. Those from one instance keep their order.
#[derive(Default)]
struct DelayedMessages {
    /// Messages by when they arrive; those of the same moment by when they were sent.
    waiting: BTreeMap<(Instant, u64), (Channel, Bytes)>,
    sent_count: u64,
    /// When the latest message of each sender arrives.
    latest: BTreeMap<InstanceId, Instant>,
}

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
    instance: InstanceId,
    /// The broker that the instance is connected to.
    broker: Mutex<InProcessBroker>,
    /// The broker to which [`Bus::reconnect`] leads.
    configured_broker: InProcessBroker,
    inputs: BusInputSender,
    delayed: Mutex<DelayedMessages>,
    message_delayed: Notify,
    /// The channels that are subscribed, and from when on each subscription takes effect.
    channels: Mutex<HashMap<Channel, Instant>>,
    health: watch::Sender<bool>,
    /// Whether what it publishes gets lost without notice.
    is_muted: AtomicBool,
    /// Whether what it should receive gets lost without notice.
    is_deaf: AtomicBool,
}

impl InProcessBroker {
    /// Connects an instance. Returns a handle for injecting faults, and the connection to start the
    /// instance with.
    pub fn connect(&self, instance: InstanceId) -> (Arc<InProcessBus>, BusConnection) {
        let (inputs, input) = bus_input_queue();
        let bus = Arc::new(InProcessBus {
            instance,
            broker: Mutex::new(self.clone()),
            configured_broker: self.clone(),
            inputs,
            delayed: Mutex::default(),
            message_delayed: Notify::new(),
            channels: Mutex::new(HashMap::from([(Channel::Inbox(instance), Instant::now())])),
            health: watch::Sender::new(true),
            is_muted: AtomicBool::new(false),
            is_deaf: AtomicBool::new(false),
        });
        self.0.lock().buses.push(Arc::clone(&bus));
        let connection = BusConnection {
            bus: Arc::clone(&bus) as _,
            driver: Box::pin(deliver_delayed(Arc::clone(&bus))),
            input,
        };
        (bus, connection)
    }

    /// Sets or removes the fault. Messages that were held back are delivered now.
    pub fn set_fault(&self, fault: Option<BusFault>) {
        let mut state = self.0.lock();
        state.fault = fault;
        while let Some((sender, channel, message)) = state.held_back.pop_front() {
            state.deliver(sender, channel, &message);
        }
    }

    /// Delays every message to each instance, and every subscription, from now on.
    pub fn set_delays(&self, rng: StdRng, milliseconds: Range<u64>) {
        self.0.lock().delays = Some(RandomDelays { rng, milliseconds });
    }

    /// Returns how many instances subscribe to the channel, whatever becomes of the message: so does
    /// Redis.
    fn publish(&self, sender: InstanceId, channel: Channel, message: Bytes) -> u64 {
        let mut state = self.0.lock();
        let receivers = state.buses.iter().filter(|bus| bus.receives(channel));
        let count = receivers.count() as u64;
        if message.is_empty() {
            // It only counts the receivers; no fault hits it instead of a message that matters.
            state.deliver(sender, channel, &message);
            return count;
        }
        state.published_count += 1;
        match state.fault {
            Some(BusFault::DropEveryNth(every)) if state.published_count.is_multiple_of(every) => {}
            Some(BusFault::Duplicate) => {
                state.deliver(sender, channel, &message);
                state.deliver(sender, channel, &message);
            }
            Some(BusFault::Reorder) => {
                state.held_back.push_back((sender, channel, message));
                if state.held_back.len() == 2 {
                    while let Some((sender, channel, message)) = state.held_back.pop_back() {
                        state.deliver(sender, channel, &message);
                    }
                }
            }
            _ => state.deliver(sender, channel, &message),
        }
        count
    }
}

impl InProcessBrokerState {
    fn deliver(&mut self, sender: InstanceId, channel: Channel, message: &Bytes) {
        for bus in self.buses.iter().filter(|bus| bus.receives(channel)) {
            match &mut self.delays {
                Some(delays) => bus.delay(sender, channel, message.clone(), delays.draw()),
                None => bus.offer(channel, message.clone()),
            }
        }
    }
}

impl InProcessBus {
    /// Cuts this instance off from the others, or reconnects it.
    pub fn set_disconnected(&self, disconnected: bool) {
        let is_new = self.health.send_if_modified(|is_up| {
            let was_up = std::mem::replace(is_up, !disconnected);
            *is_up != was_up
        });
        if is_new && !disconnected {
            self.inputs.mark_all_lost();
        }
    }

    /// Loses without notice what this instance publishes, or ends that.
    pub fn set_muted(&self, is_muted: bool) {
        self.is_muted.store(is_muted, Ordering::Relaxed);
    }

    /// Loses without notice what this instance should receive, or ends that as a new connection
    /// does.
    pub fn set_deaf(&self, is_deaf: bool) {
        if self.is_deaf.swap(is_deaf, Ordering::Relaxed) && !is_deaf {
            self.inputs.mark_all_lost();
        }
    }

    /// Removes this instance from the broker, as when its process dies.
    pub fn remove(&self) {
        self.set_disconnected(true);
        self.leave();
    }

    /// Returns whether the instance subscribes to a raid or to a player's stream.
    pub fn is_following(&self) -> bool {
        let channels = self.channels.lock();
        let is_followed = |channel: &Channel| !matches!(channel, Channel::Inbox(_) | Channel::Feed);
        channels.keys().any(is_followed)
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

    fn is_muted(&self) -> bool {
        self.is_muted.load(Ordering::Relaxed)
    }

    fn receives(&self, channel: Channel) -> bool {
        let begins = self.channels.lock().get(&channel).copied();
        self.is_up() && begins.is_some_and(|begins| begins <= Instant::now())
    }

    fn offer(&self, channel: Channel, message: Bytes) {
        if !self.is_deaf.load(Ordering::Relaxed) {
            // A full queue drops the message and marks its channel as lost.
            let _ = self.inputs.offer(channel, message);
        }
    }

    fn delay(&self, sender: InstanceId, channel: Channel, message: Bytes, delay: Duration) {
        let mut delayed = self.delayed.lock();
        let arrives = Instant::now() + delay;
        let latest = delayed.latest.entry(sender).or_insert(arrives);
        *latest = arrives.max(*latest);
        let arrives = *latest;
        delayed.sent_count += 1;
        let number = delayed.sent_count;
        delayed
            .waiting
            .insert((arrives, number), (channel, message));
        self.message_delayed.notify_one();
    }
}

/// Delivers delayed messages, each once its time has come.
async fn deliver_delayed(bus: Arc<InProcessBus>) {
    loop {
        let next = bus.delayed.lock().waiting.keys().next().copied();
        let Some((arrives, _)) = next else {
            bus.message_delayed.notified().await;
            continue;
        };
        if arrives > Instant::now() {
            // An earlier one may be sent meanwhile.
            let _ = timeout_at(arrives, bus.message_delayed.notified()).await;
            continue;
        }
        let first = bus.delayed.lock().waiting.pop_first();
        if let Some((_, (channel, message))) = first
            && bus.receives(channel)
        {
            bus.offer(channel, message);
        }
    }
}

#[async_trait]
impl Bus for InProcessBus {
    fn publish(&self, channel: Channel, message: Bytes) -> bool {
        if self.is_up() && !self.is_muted() {
            self.broker().publish(self.instance, channel, message);
        }
        self.is_up()
    }

    async fn publish_counted(&self, channel: Channel, message: Bytes) -> Option<u64> {
        (self.is_up() && !self.is_muted())
            .then(|| self.broker().publish(self.instance, channel, message))
    }

    async fn subscribe(&self, channels: &[Channel]) -> Result<(), BusDown> {
        let delay = {
            let broker = self.broker();
            let delays = &mut broker.0.lock().delays;
            delays.as_mut().map(RandomDelays::draw).unwrap_or_default()
        };
        let mut latest = Instant::now() + delay;
        for channel in channels {
            let mut subscribed = self.channels.lock();
            let begins = subscribed.entry(*channel).or_insert(latest);
            latest = latest.max(*begins);
        }
        sleep_until(latest).await;
        if self.is_up() { Ok(()) } else { Err(BusDown) }
    }

    fn unsubscribe(&self, channels: &[Channel]) {
        self.channels
            .lock()
            .retain(|channel, _| !channels.contains(channel));
    }

    fn reconnect(&self) {
        self.connect_to(&self.configured_broker);
    }

    fn watch_health(&self) -> watch::Receiver<bool> {
        self.health.subscribe()
    }
}
