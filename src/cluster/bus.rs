//! The bus: carries messages between instances, fast and without a promise of delivery.
//!
//! Messages of one channel arrive in the order in which they were published, or not at all. After a
//! loss, receivers recover from the store: [`BusInput::Lost`] and [`BusInput::LostAll`] say when.

#[cfg(test)]
pub mod in_process;
mod receive_queue;
pub mod redis;

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use raidhall_protocol::{PlayerId, RaidId};
pub use receive_queue::{BusInputReceiver, BusInputSender, OfferError, bus_input_queue};
use tokio::sync::watch;
use uuid::Uuid;

use crate::store::InstanceId;

/// Channel of a message. The braces in a raid's channel names are literal: they make a Redis
/// Cluster keep a raid's channels on one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// `raid:{7}:events`: committed events and other messages about a raid.
    Events(RaidId),
    /// `raid:{7}:live`: presence and signals, which are dropped first.
    Live(RaidId),
    /// `player:{5}:events`: the newest seq of a player's stream.
    Player(PlayerId),
    /// `feed`: notices that the feed of the store has new events.
    Feed,
    /// `instance:ID:inbox`: messages for one instance.
    Inbox(InstanceId),
}

/// One instance's connection to the bus.
pub struct BusConnection {
    /// Publishes and subscribes. It works while `driver` runs.
    pub bus: Arc<dyn Bus>,
    /// Keeps the bus connected until dropped.
    pub driver: BoxFuture<'static, ()>,
    /// Receives the messages of this instance's inbox and of every channel that it subscribes to.
    pub input: BusInputReceiver,
}

/// Carries messages between instances.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Queues a message; never waits. Returns false if it was dropped (queue full, or the bus is
    /// down), which is counted.
    fn publish(&self, channel: Channel, message: Bytes) -> bool;

    /// Publishes a message and returns how many subscriptions received it; `None` when that is
    /// unknown (bus down, timed out). The message does not overtake earlier ones on the same
    /// channel.
    async fn publish_counted(&self, channel: Channel, message: Bytes) -> Option<u64>;

    /// Subscribes and waits for the confirmation. The subscriptions last, across reconnects, until
    /// `unsubscribe`.
    ///
    /// # Errors
    ///
    /// The bus is down, or did not confirm in time. The channels are subscribed when it is back.
    async fn subscribe(&self, channels: &[Channel]) -> Result<(), BusDown>;

    /// Unsubscribes from these channels; messages already on their way may still arrive.
    fn unsubscribe(&self, channels: &[Channel]);

    /// Waits until all messages published before have been sent or dropped, but only for a moment.
    async fn flush(&self) {
        // An empty message to the nil instance, queued behind all others.
        self.publish_counted(Channel::Inbox(InstanceId(Uuid::nil())), Bytes::new())
            .await;
    }

    /// Closes the connections to the server, and opens new ones to the server that the address
    /// names by then. Does nothing while the bus is down, because it is about to connect anyway.
    fn reconnect(&self);

    /// Returns a receiver of the bus's health.
    fn watch_health(&self) -> watch::Receiver<bool>;
}

/// Input that an instance receives from the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusInput {
    /// A message from any publisher on the bus. It is untrusted until its seal is checked.
    Message(Channel, Bytes),
    /// Messages of this channel were dropped, or may have been missed.
    Lost(Channel),
    /// Messages of every channel may have been missed.
    LostAll,
}

/// The bus is unhealthy, or a subscription was not confirmed in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bus is down")]
pub struct BusDown;

/// The text is not the name of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a channel of the bus")]
pub struct ChannelParseError;

impl Display for Channel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events(raid) => write!(f, "raid:{{{}}}:events", raid.get()),
            Self::Live(raid) => write!(f, "raid:{{{}}}:live", raid.get()),
            Self::Player(player) => write!(f, "player:{{{}}}:events", player.get()),
            Self::Feed => f.write_str("feed"),
            Self::Inbox(instance) => write!(f, "instance:{}:inbox", instance.0),
        }
    }
}

impl FromStr for Channel {
    type Err = ChannelParseError;

    fn from_str(name: &str) -> Result<Self, ChannelParseError> {
        let channel = match name.split_once(':') {
            Some(("raid", rest)) => {
                let (raid, kind) = parse_id(rest)?;
                match kind {
                    "events" => Self::Events(raid),
                    "live" => Self::Live(raid),
                    _ => return Err(ChannelParseError),
                }
            }
            Some(("player", rest)) => match parse_id(rest)? {
                (player, "events") => Self::Player(player),
                _ => return Err(ChannelParseError),
            },
            Some(("instance", rest)) => {
                let id = rest
                    .strip_suffix(":inbox")
                    .and_then(|id| Uuid::try_parse(id).ok());
                Self::Inbox(InstanceId(id.ok_or(ChannelParseError)?))
            }
            None if name == "feed" => Self::Feed,
            _ => return Err(ChannelParseError),
        };
        // Only the canonical spelling counts: to the server, `raid:{07}:live` is another channel.
        if channel.to_string() == name {
            Ok(channel)
        } else {
            Err(ChannelParseError)
        }
    }
}

/// Reads an id in braces and what follows it.
fn parse_id<T: TryFrom<u64>>(name: &str) -> Result<(T, &str), ChannelParseError> {
    let braced = name.strip_prefix('{').and_then(|it| it.split_once("}:"));
    let (id, rest) = braced.ok_or(ChannelParseError)?;
    let id = id.parse().ok().and_then(|id: u64| T::try_from(id).ok());
    Ok((id.ok_or(ChannelParseError)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_name_parses_to_its_channel() {
        let raid = RaidId::try_from(7_u64).expect("an id");
        let instance = InstanceId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
        for (channel, name) in [
            (Channel::Events(raid), "raid:{7}:events"),
            (Channel::Live(raid), "raid:{7}:live"),
            (
                Channel::Player(PlayerId::try_from(5_u64).expect("an id")),
                "player:{5}:events",
            ),
            (Channel::Feed, "feed"),
            (
                Channel::Inbox(instance),
                "instance:01900000-0000-7000-8000-000000000001:inbox",
            ),
        ] {
            assert_eq!(channel.to_string(), name);
            assert_eq!(name.parse(), Ok(channel));
        }
    }

    #[test]
    fn every_other_channel_name_is_refused() {
        for name in [
            "",
            "raid",
            "raid:7:events",
            "raid:{7}:chat",
            "raid:{07}:events",
            "raid:{+7}:events",
            "raid:{0}:events",
            "raid:{99999999999999999999}:events",
            "raid:{7}:events:",
            "feeds",
            "feed:",
            "player:{5}",
            "player:{5}:live",
            "player:{05}:events",
            "instance:x:inbox",
            "instance:01900000000070008000000000000001:inbox",
            "instance:01900000-0000-7000-8000-00000000000A:inbox",
        ] {
            assert_eq!(name.parse::<Channel>(), Err(ChannelParseError), "{name:?}");
        }
    }
}
