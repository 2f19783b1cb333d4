//! One connection of a well-behaved client, message by message.

use std::sync::Arc;
use std::time::Duration;

use raidhall_loadtest::client::{CloseInfo, Decoder, Incoming, Socket};
use raidhall_loadtest::target::Target;
use raidhall_protocol::{
    ClientMessage, Codec, Command, ErrorBody, OpKey, RaidId, Seq, ServerMessage,
};
use tokio::time::timeout;

/// How long an expected message may take.
const TIMEOUT: Duration = Duration::from_secs(20);

pub struct TestSocket {
    socket: Socket,
    next_id: u64,
    /// Every message received, in order.
    pub received: Vec<Arc<ServerMessage>>,
}

/// The reply to a command: seq and whether it is a repeat, or an error.
pub type CommandReply = Result<(Seq, bool), ErrorBody>;

impl TestSocket {
    /// Connects and authenticates with the given token.
    pub async fn connect_authenticated(target: &Target, codec: Codec, token: &str) -> TestSocket {
        let mut socket = Self::connect(target, codec).await;
        socket.socket.authenticate(token).await.expect("a welcome");
        socket
    }

    /// Connects without sending anything.
    pub async fn connect(target: &Target, codec: Codec) -> TestSocket {
        let socket = Socket::connect(target, codec, Decoder::new())
            .await
            .expect("a connection");
        TestSocket {
            socket,
            next_id: 1,
            received: Vec::new(),
        }
    }

    pub async fn send(&mut self, message: ClientMessage) {
        self.socket
            .send(&message)
            .await
            .expect("the server accepts it");
    }

    /// Returns the next message; panics when the connection ends.
    pub async fn next_message(&mut self) -> Arc<ServerMessage> {
        let message = self.try_next_message().await;
        message.unwrap_or_else(|closed| panic!("closed: {closed:?}, after {:?}", self.received))
    }

    /// Returns the next message, or how the connection ended.
    pub async fn try_next_message(&mut self) -> Result<Arc<ServerMessage>, CloseInfo> {
        loop {
            let incoming = timeout(TIMEOUT, self.socket.next()).await;
            match incoming.unwrap_or_else(|_| panic!("silence after {:?}", self.received)) {
                Incoming::Message(message) => {
                    self.received.push(Arc::clone(&message));
                    return Ok(message);
                }
                Incoming::KeepAlive => {}
                Incoming::Unreadable(what) => panic!("unreadable: {}", what.text),
                Incoming::Closed(closed) => return Err(closed),
            }
        }
    }

    /// Reads on to the first message for which the function returns something, and returns that.
    pub async fn wait_for<T>(&mut self, select: impl Fn(&ServerMessage) -> Option<T>) -> T {
        loop {
            let message = self.next_message().await;
            if let Some(found) = select(&message) {
                return found;
            }
        }
    }

    /// Reads on to the end of the connection.
    pub async fn wait_for_close(&mut self) -> CloseInfo {
        loop {
            if let Err(closed) = self.try_next_message().await {
                return closed;
            }
        }
    }

    /// Watches a raid. Returns the seq of the reply, and whether it is a replay.
    pub async fn watch(&mut self, raid: RaidId, since: Option<Seq>) -> (Seq, bool) {
        self.send(ClientMessage::Watch {
            id: None,
            raid,
            since,
        })
        .await;
        self.wait_for(|message| match message {
            ServerMessage::Watching { raid: of, seq, .. } if *of == raid => Some((*seq, true)),
            ServerMessage::Snapshot { raid: of, seq, .. } if *of == raid => Some((*seq, false)),
            _ => None,
        })
        .await
    }

    /// Sends a command, and returns its correlation number.
    pub async fn send_command(&mut self, raid: RaidId, op: Option<&str>, cmd: Command) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let op = op.map(|op| OpKey::try_from(op.to_owned()).expect("an op key"));
        self.send(ClientMessage::Do { id, raid, op, cmd }).await;
        id
    }

    /// Returns the reply to a command.
    pub async fn wait_for_result(&mut self, number: u64) -> CommandReply {
        self.wait_for(|message| command_result(message, number))
            .await
    }

    /// Sends a command and waits for its reply.
    pub async fn execute(&mut self, raid: RaidId, op: Option<&str>, cmd: Command) -> CommandReply {
        let number = self.send_command(raid, op, cmd).await;
        self.wait_for_result(number).await
    }

    /// Returns the next error that replies to a message of this type.
    pub async fn wait_for_error(&mut self, to: &str) -> ErrorBody {
        self.wait_for(|message| match message {
            ServerMessage::Error { re, error, .. } if re == to => Some(error.clone()),
            _ => None,
        })
        .await
    }

    /// Returns the seqs of all events received.
    pub fn received_seqs(&self) -> Vec<u64> {
        self.received
            .iter()
            .filter_map(|message| event_seq(message))
            .collect()
    }

    /// Sends a chat message, and returns the seq of its event.
    pub async fn say(&mut self, raid: RaidId, text: impl Into<String>) -> Seq {
        self.execute(raid, None, Command::Say { text: text.into() })
            .await
            .expect("the command is accepted")
            .0
    }
}

/// Returns the seq of a message that is an event.
pub fn event_seq(message: &ServerMessage) -> Option<u64> {
    match message {
        ServerMessage::Event { event, .. } => Some(event.seq.0),
        _ => None,
    }
}

/// Returns the reply to a command if the message is one.
pub fn command_result(message: &ServerMessage, number: u64) -> Option<CommandReply> {
    match message {
        ServerMessage::Ack {
            id, seq, duplicate, ..
        } if *id == number => Some(Ok((*seq, *duplicate))),
        ServerMessage::Error {
            id: Some(id),
            error,
            ..
        } if *id == number => Some(Err(error.clone())),
        _ => None,
    }
}
