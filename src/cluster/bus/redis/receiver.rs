//! What the listening connection pushes: told apart, checked, and put where it is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

use super::super::{Channel, Dropped, Intake, Refusal};
use super::Shared;

/// Begins every message to oneself; no envelope begins so.
const PROOF: &[u8] = b"\0\0raidhall proof\0";

/// Takes the pushes of one link, from the tasks that read its connections. Never waits.
pub(super) struct Receiver {
    shared: Arc<Shared>,
    intake: Intake,
    /// Nobody else knows it, so nobody else can prove for us.
    nonce: [u8; 16],
    echo: watch::Sender<u64>,
    broken: watch::Sender<bool>,
    /// The link is gone; what its connection still had read would come out of order.
    over: AtomicBool,
}

impl Receiver {
    pub(super) fn new(shared: Arc<Shared>, intake: Intake) -> Self {
        Self {
            shared,
            intake,
            nonce: rand::random(),
            echo: watch::Sender::new(0),
            broken: watch::Sender::new(false),
            over: AtomicBool::new(false),
        }
    }

    /// The message to oneself with this number.
    pub(super) fn proof(&self, number: u64) -> Vec<u8> {
        [PROOF, &self.nonce, &number.to_be_bytes()].concat()
    }

    /// Ends when the message with this number, or a later one, has come back.
    pub(super) async fn echoed(&self, number: u64) {
        // The sender is ours: it cannot be gone.
        let _ = self
            .echo
            .subscribe()
            .wait_for(|latest| *latest >= number)
            .await;
    }

    /// Ends when the connection is gone, or the server has taken a subscription from us.
    pub(super) async fn broken(&self) {
        let _ = self.broken.subscribe().wait_for(|broken| *broken).await;
    }

    /// Takes nothing more.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Takes what was pushed.
    pub(super) fn push(&self, PushInfo { kind, data }: PushInfo) {
        if self.over.load(Ordering::Acquire) {
            return;
        }
        match kind {
            PushKind::Message | PushKind::SMessage => self.message(data),
            PushKind::Disconnection => {
                self.broken.send_replace(true);
            }
            // A cluster's node does that when it hands the channel's slot to another.
            PushKind::SUnsubscribe if self.unasked(&data) => {
                self.broken.send_replace(true);
            }
            _ => {}
        }
    }

    fn message(&self, data: Vec<Value>) {
        let Ok([Value::BulkString(name), Value::BulkString(message)]) =
            <[Value; 2]>::try_from(data)
        else {
            return Dropped::BadChannel.count(1);
        };
        let Some(channel) = channel(&name) else {
            return Dropped::BadChannel.count(1);
        };
        if channel == self.shared.inbox && message.starts_with(PROOF) {
            return self.proven_by(&message);
        }
        let cause = match self.intake.offer(channel, Bytes::from(message)) {
            Ok(()) => return,
            Err(Refusal::Full) => Dropped::IncomingFull,
            Err(Refusal::TooLarge) => Dropped::TooLarge,
        };
        cause.count(1);
    }

    fn proven_by(&self, message: &[u8]) {
        let number = message[PROOF.len()..].strip_prefix(&self.nonce);
        // Another nonce is that of a former link, or a lie.
        if let Some(number) = number
            .and_then(|number| number.try_into().ok())
            .map(u64::from_be_bytes)
        {
            // An earlier one that is repeated takes nothing back.
            self.echo.send_if_modified(|latest| {
                let later = number > *latest;
                *latest = number.max(*latest);
                later
            });
        }
    }

    fn unasked(&self, data: &[Value]) -> bool {
        let Some(Value::BulkString(name)) = data.first() else {
            return false;
        };
        channel(name).is_some_and(|channel| self.shared.subscriptions.holds(channel))
    }
}

fn channel(name: &[u8]) -> Option<Channel> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::super::intake;
    use super::super::{RedisBus, RedisOptions};
    use super::*;
    use crate::store::InstanceId;

    #[test]
    fn an_earlier_proof_that_is_repeated_takes_nothing_back() {
        let instance = InstanceId(uuid::Uuid::from_u128(1));
        let options = RedisOptions {
            url: "redis://localhost".into(),
            cluster: false,
            ca_pem: None,
            instance,
        };
        let (bus, _driver, _deliveries) = RedisBus::new(options).expect("options that make sense");
        let receiver = Receiver::new(Arc::clone(&bus.0), intake().0);
        for number in [1, 2, 1] {
            let name = Value::BulkString(bus.0.inbox.to_string().into());
            let data = vec![name, Value::BulkString(receiver.proof(number))];
            receiver.push(PushInfo {
                kind: PushKind::Message,
                data,
            });
        }
        assert!(receiver.echoed(2).now_or_never().is_some());
        assert!(receiver.echoed(3).now_or_never().is_none());
    }
}
