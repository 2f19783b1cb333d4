//! Receiver of what Redis pushes over a receiving connection: probes, messages, and the ends of
//! connections and subscriptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

use super::super::{BusInputSender, Channel, OfferError};
use super::RedisBusShared;
use crate::telemetry::{BusDropCause, metrics};

/// Start of every probe; no envelope starts like this.
const PROBE_PREFIX: &[u8] = b"\0\0raidhall proof\0";

/// Handles the pushes of one connection pair, on the tasks that read its connections. Never waits.
pub(super) struct PushReceiver {
    shared: Arc<RedisBusShared>,
    inputs: BusInputSender,
    /// Random, so that only this instance can make its probes.
    nonce: [u8; 16],
    latest_probe: watch::Sender<u64>,
    is_broken: watch::Sender<bool>,
    /// Set when the pair is gone: what its connection has still read would arrive out of order.
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

    /// Returns the probe with this number.
    pub(super) fn probe_message(&self, number: u64) -> Vec<u8> {
        [PROBE_PREFIX, &self.nonce, &number.to_be_bytes()].concat()
    }

    /// Waits until the probe with this number, or a later one, has returned.
    pub(super) async fn wait_for_probe(&self, number: u64) {
        // `self` holds the sender, so the wait cannot fail.
        let _ = self
            .latest_probe
            .subscribe()
            .wait_for(|latest| *latest >= number)
            .await;
    }

    /// Waits until the connection is gone or the server has withdrawn a subscription.
    pub(super) async fn wait_until_broken(&self) {
        let _ = self.is_broken.subscribe().wait_for(|broken| *broken).await;
    }

    /// Ignores all further pushes.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Handles one push of the server.
    pub(super) fn handle_push(&self, PushInfo { kind, data }: PushInfo) {
        if self.is_closed.load(Ordering::Acquire) {
            return;
        }
        match kind {
            PushKind::Message | PushKind::SMessage => self.handle_message(data),
            PushKind::Disconnection => {
                self.is_broken.send_replace(true);
            }
            // A node of a Redis Cluster sends this when the channel's slot moves to another node.
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
        // Another nonce is that of a former pair, or forged.
        if let Some(number) = number
            .and_then(|number| number.try_into().ok())
            .map(u64::from_be_bytes)
        {
            // A repeated older probe does not lower the number.
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
    fn a_repeated_older_probe_does_not_lower_the_newest() {
        let instance = InstanceId(uuid::Uuid::from_u128(1));
        let options = RedisOptions {
            url: "redis://localhost".into(),
            is_cluster: false,
            ca_pem: None,
            instance,
        };
        let (bus, _driver, _inputs) = RedisBus::new(options).expect("valid options");
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
