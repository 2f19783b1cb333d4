//! One connection of a well-behaved client, message by message.

use std::sync::Arc;
use std::time::Duration;

use raidhall_loadtest::client::{Closed, Decoder, Incoming, Socket};
use raidhall_loadtest::target::Target;
use raidhall_protocol::{
    ClientMessage, Codec, Command, ErrorBody, OpKey, RaidId, Seq, ServerMessage,
};
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Wire {
    socket: Socket,
    next_id: u64,
    /// Everything that came, first to last.
    pub heard: Vec<Arc<ServerMessage>>,
}

/// What a command is answered with.
pub type Answer = Result<(Seq, bool), ErrorBody>;

impl Wire {
    /// Connected and welcomed.
    pub async fn open(target: &Target, codec: Codec, token: &str) -> Wire {
        let mut wire = Self::connect(target, codec).await;
        wire.socket.hello(token).await.expect("a welcome");
        wire
    }

    /// Connected, and no word said.
    pub async fn connect(target: &Target, codec: Codec) -> Wire {
        let socket = Socket::connect(target, codec, Decoder::new())
            .await
            .expect("a connection");
        Wire {
            socket,
            next_id: 1,
            heard: Vec::new(),
        }
    }

    pub async fn send(&mut self, message: ClientMessage) {
        self.socket
            .send(&message)
            .await
            .expect("the server takes it");
    }

    /// The next message.
    pub async fn next(&mut self) -> Arc<ServerMessage> {
        let message = self.next_or_end().await;
        message.unwrap_or_else(|closed| panic!("closed: {closed:?}, after {:?}", self.heard))
    }

    /// The next message, or how the connection ended.
    pub async fn next_or_end(&mut self) -> Result<Arc<ServerMessage>, Closed> {
        loop {
            let incoming = timeout(PATIENCE, self.socket.next()).await;
            match incoming.unwrap_or_else(|_| panic!("silence after {:?}", self.heard)) {
                Incoming::Message(message) => {
                    self.heard.push(Arc::clone(&message));
                    return Ok(message);
                }
                Incoming::Alive => {}
                Incoming::Unreadable(what) => panic!("unreadable: {}", what.text),
                Incoming::Closed(closed) => return Err(closed),
            }
        }
    }

    /// Reads on to the message that is meant.
    pub async fn seek<T>(&mut self, meant: impl Fn(&ServerMessage) -> Option<T>) -> T {
        loop {
            let message = self.next().await;
            if let Some(found) = meant(&message) {
                return found;
            }
        }
    }

    /// Reads on to the end of the connection.
    pub async fn end(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.next_or_end().await {
                return closed;
            }
        }
    }

    /// Watches a raid: the seq of the answer, and whether it is a replay.
    pub async fn watch(&mut self, raid: RaidId, since: Option<Seq>) -> (Seq, bool) {
        self.send(ClientMessage::Watch {
            id: None,
            raid,
            since,
        })
        .await;
        self.seek(|message| match message {
            ServerMessage::Watching { raid: of, seq, .. } if *of == raid => Some((*seq, true)),
            ServerMessage::Snapshot { raid: of, seq, .. } if *of == raid => Some((*seq, false)),
            _ => None,
        })
        .await
    }

    /// Sends a command, and gives its number.
    pub async fn ask(&mut self, raid: RaidId, op: Option<&str>, cmd: Command) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let op = op.map(|op| OpKey::try_from(op.to_owned()).expect("an op key"));
        self.send(ClientMessage::Do { id, raid, op, cmd }).await;
        id
    }

    /// The answer to a command.
    pub async fn answer(&mut self, number: u64) -> Answer {
        self.seek(|message| answer_to(message, number)).await
    }

    /// Sends a command and waits for its answer.
    pub async fn act(&mut self, raid: RaidId, op: Option<&str>, cmd: Command) -> Answer {
        let number = self.ask(raid, op, cmd).await;
        self.answer(number).await
    }

    /// The next error in answer to a message of this kind.
    pub async fn error(&mut self, to: &str) -> ErrorBody {
        self.seek(|message| match message {
            ServerMessage::Error { re, error, .. } if re == to => Some(error.clone()),
            _ => None,
        })
        .await
    }

    /// The seqs of the events that came.
    pub fn seqs(&self) -> Vec<u64> {
        self.heard
            .iter()
            .filter_map(|message| event_seq(message))
            .collect()
    }

    /// Something for this client to say.
    pub async fn say(&mut self, raid: RaidId, text: impl Into<String>) -> Seq {
        self.act(raid, None, Command::Say { text: text.into() })
            .await
            .expect("it may talk")
            .0
    }
}

/// The seq of an event.
pub fn event_seq(message: &ServerMessage) -> Option<u64> {
    match message {
        ServerMessage::Event { event, .. } => Some(event.seq.0),
        _ => None,
    }
}

/// What a message answers to a command, if it does.
pub fn answer_to(message: &ServerMessage, number: u64) -> Option<Answer> {
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
