//! What the listening connection pushes: told apart, checked, and put where it is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

use super::super::{BusInputSender, Channel, OfferError};
use super::RedisBusShared;
use crate::telemetry::{BusDropCause, metrics};

/// Begins every message to oneself; no envelope begins so.
const PROBE_PREFIX: &[u8] = b"\0\0raidhall proof\0";

/// Takes the pushes of one link, from the tasks that read its connections. Never waits.
pub(super) struct PushReceiver {
    shared: Arc<RedisBusShared>,
    inputs: BusInputSender,
    /// Nobody else knows it, so nobody else can prove for us.
    nonce: [u8; 16],
    latest_probe: watch::Sender<u64>,
    is_broken: watch::Sender<bool>,
    /// The link is gone; what its connection still had read would come out of order.
    is_closed: AtomicBool,
}

impl PushReceiver {
    pub(super) fn new(shared: Arc<RedisBusShared>, inputs: BusInputSender) -> Self {
        Self {
            shared,
            inputs,
            nonce: rand::random(),
            latest_probe: watch::Sender::new(0),
            is_broken: watch::Sender::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    /// The message to oneself with this number.
    pub(super) fn probe_message(&self, number: u64) -> Vec<u8> {
        [PROBE_PREFIX, &self.nonce, &number.to_be_bytes()].concat()
    }

    /// Ends when the message with this number, or a later one, has come back.
    pub(super) async fn wait_for_probe(&self, number: u64) {
        // The sender is ours: it cannot be gone.
        let _ = self
            .latest_probe
            .subscribe()
            .wait_for(|latest| *latest >= number)
            .await;
    }

    /// Ends when the connection is gone, or the server has taken a subscription from us.
    pub(super) async fn wait_until_broken(&self) {
        let _ = self.is_broken.subscribe().wait_for(|broken| *broken).await;
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Takes what was pushed.
    pub(super) fn handle_push(&self, PushInfo { kind, data }: PushInfo) {
        if self.is_closed.load(Ordering::Acquire) {
            return;
        }
        match kind {
            PushKind::Message | PushKind::SMessage => self.handle_message(data),
            PushKind::Disconnection => {
                self.is_broken.send_replace(true);
            }
            // A cluster's node does that when it hands the channel's slot to another.
            PushKind::SUnsubscribe if self.is_unrequested_unsubscribe(&data) => {
                self.is_broken.send_replace(true);
            }
            _ => {}
        }
    }

    fn handle_message(&self, data: Vec<Value>) {
        let Ok([Value::BulkString(name), Value::BulkString(message)]) =
            <[Value; 2]>::try_from(data)
        else {
            return metrics().bus_dropped.increment(BusDropCause::BadChannel);
        };
        let Some(channel) = parse_channel(&name) else {
            return metrics().bus_dropped.increment(BusDropCause::BadChannel);
        };
        if channel == self.shared.inbox && message.starts_with(PROBE_PREFIX) {
            return self.record_probe(&message);
        }
        let cause = match self.inputs.offer(channel, Bytes::from(message)) {
            Ok(()) => return,
            Err(OfferError::Full) => BusDropCause::IncomingFull,
            Err(OfferError::TooLarge) => BusDropCause::TooLarge,
        };
        metrics().bus_dropped.increment(cause);
    }

    fn record_probe(&self, message: &[u8]) {
        let number = message[PROBE_PREFIX.len()..].strip_prefix(&self.nonce);
        // Another nonce is that of a former link, or a lie.
        if let Some(number) = number
            .and_then(|number| number.try_into().ok())
            .map(u64::from_be_bytes)
        {
            // An earlier one that is repeated takes nothing back.
            self.latest_probe.send_if_modified(|latest| {
                let later = number > *latest;
                *latest = number.max(*latest);
                later
            });
        }
    }

    fn is_unrequested_unsubscribe(&self, data: &[Value]) -> bool {
        let Some(Value::BulkString(name)) = data.first() else {
            return false;
        };
        parse_channel(name).is_some_and(|channel| self.shared.subscriptions.is_confirmed(channel))
    }
}

fn parse_channel(name: &[u8]) -> Option<Channel> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::super::bus_input_queue;
    use super::super::{RedisBus, RedisOptions};
    use super::*;
    use crate::store::InstanceId;

    #[test]
    fn a_repeated_older_proof_does_not_lower_the_newest() {
        let instance = InstanceId(uuid::Uuid::from_u128(1));
        let options = RedisOptions {
            url: "redis://localhost".into(),
            is_cluster: false,
            ca_pem: None,
            instance,
        };
        let (bus, _driver, _deliveries) = RedisBus::new(options).expect("options that make sense");
        let receiver = PushReceiver::new(Arc::clone(&bus.0), bus_input_queue().0);
        for number in [1, 2, 1] {
            let name = Value::BulkString(bus.0.inbox.to_string().into());
            let data = vec![name, Value::BulkString(receiver.probe_message(number))];
            receiver.handle_push(PushInfo {
                kind: PushKind::Message,
                data,
            });
        }
        assert!(receiver.wait_for_probe(2).now_or_never().is_some());
        assert!(receiver.wait_for_probe(3).now_or_never().is_none());
    }
}
