//! One WebSocket connection in one codec; nothing here outlives it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use raidhall_protocol::limits::SOCKET_PATH;
use raidhall_protocol::{ClientMessage, Codec, ServerMessage};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::decoder::{Decoder, UnreadableFrame};
use crate::network::{ByteStream, Loopback, Network};
use crate::target::Target;

/// Time limit for connecting and upgrading together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for the server to accept one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
/// Larger than any snapshot: 500 tasks and 100 members.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// A WebSocket connection to the server.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<Box<dyn ByteStream>>,
    codec: Codec,
    decoder: Arc<Decoder>,
}

/// Headers of the upgrade request, for tests that deviate from a well-behaved client.
#[derive(Debug, Clone, Default)]
pub struct UpgradeRequest {
    /// `Sec-WebSocket-Protocol`; `None` offers no subprotocol.
    pub subprotocols: Option<String>,
    /// The token of an `Authorization: Bearer` header.
    pub bearer: Option<String>,
    /// The value of the `Origin` header.
    pub origin: Option<String>,
}

/// What [`Socket::next`] returns: a message, a ping, or the end.
#[derive(Debug)]
pub enum Incoming {
    Message(Arc<ServerMessage>),
    /// A frame that could not be decoded.
    Unreadable(UnreadableFrame),
    /// A WebSocket ping or pong, which shows that the server is alive.
    KeepAlive,
    /// The end of the connection.
    Closed(CloseInfo),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseInfo {
    /// The close code; `None` when the connection broke.
    pub code: Option<u16>,
    /// The server's reason, or the error that broke the connection.
    pub reason: String,
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server answered the upgrade with another status than 101.
    #[error("upgrade refused with status {status}")]
    Refused {
        status: u16,
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u64>,
    },
    /// The server chose no subprotocol, or one that was not offered.
    #[error("server chose subprotocol {0:?}")]
    Subprotocol(Option<String>),
    /// Connecting and upgrading took longer than `CONNECT_TIMEOUT`.
    #[error("connect: no answer in {CONNECT_TIMEOUT:?}")]
    Timeout,
    /// The server does not listen, or the connection broke.
    #[error("connect: {0}")]
    Broken(#[from] Box<Error>),
}

impl Socket {
    /// Connects and upgrades, offering the codec's subprotocol.
    pub async fn connect(
        target: &Target,
        codec: Codec,
        decoder: Arc<Decoder>,
    ) -> Result<Socket, ConnectError> {
        Self::connect_over(&Loopback, target, codec, decoder).await
    }

    /// Connects over a network and upgrades, offering the codec's subprotocol.
    pub(super) async fn connect_over(
        network: &dyn Network,
        target: &Target,
        codec: Codec,
        decoder: Arc<Decoder>,
    ) -> Result<Socket, ConnectError> {
        let upgrade = UpgradeRequest {
            subprotocols: Some(codec.subprotocol().to_owned()),
            ..UpgradeRequest::default()
        };
        Self::open(network, target, &upgrade, decoder).await
    }

    /// Connects and upgrades with the given headers. Without subprotocols the codec is JSON.
    pub async fn connect_with(
        target: &Target,
        upgrade: &UpgradeRequest,
        decoder: Arc<Decoder>,
    ) -> Result<Socket, ConnectError> {
        Self::open(&Loopback, target, upgrade, decoder).await
    }

    async fn open(
        network: &dyn Network,
        target: &Target,
        upgrade: &UpgradeRequest,
        decoder: Arc<Decoder>,
    ) -> Result<Socket, ConnectError> {
        let connecting = connect(network, target, request(target, upgrade)?);
        let (stream, chosen) = timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| ConnectError::Timeout)??;
        let offered = upgrade.subprotocols.as_deref().unwrap_or_default();
        let codec = match chosen.as_deref() {
            None if upgrade.subprotocols.is_none() => Codec::Json,
            Some(name) if offered.split(',').any(|offer| offer.trim() == name) => {
                Codec::from_subprotocol(name)
                    .ok_or_else(|| ConnectError::Subprotocol(Some(name.to_owned())))?
            }
            _ => return Err(ConnectError::Subprotocol(chosen)),
        };
        Ok(Socket {
            stream,
            codec,
            decoder,
        })
    }

    /// Returns the codec that client and server agreed on.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Encodes and sends a message.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), CloseInfo> {
        let bytes = self.codec.encode(message);
        self.send_frame(match self.codec {
            Codec::Json => match String::from_utf8(bytes) {
                Ok(text) => Message::text(text),
                Err(no_text) => return Err(connection_lost(&no_text)),
            },
            Codec::MessagePack => Message::binary(bytes),
        })
        .await
    }

    /// Sends a frame unchanged, for tests of hostile clients.
    pub async fn send_frame(&mut self, frame: Message) -> Result<(), CloseInfo> {
        match timeout(SEND_TIMEOUT, self.stream.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(connection_lost(&why)),
            Err(_) => Err(CloseInfo {
                code: None,
                reason: format!("server accepted nothing for {SEND_TIMEOUT:?}"),
            }),
        }
    }

    /// Sends a close frame without a code, and waits for no answer.
    pub(super) async fn send_close(&mut self) -> Result<(), CloseInfo> {
        self.send_frame(Message::Close(None)).await
    }

    /// Returns the next message, ping or end. Cancel-safe.
    pub async fn next(&mut self) -> Incoming {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) if self.codec == Codec::Json => self.decode(text.into()),
            Some(Ok(Message::Binary(bytes))) if self.codec == Codec::MessagePack => {
                self.decode(bytes)
            }
            Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Frame(_))) => {
                let text = format!("frame of the other type on a {:?} connection", self.codec);
                Incoming::Unreadable(UnreadableFrame {
                    text,
                    is_error: false,
                })
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::KeepAlive,
            Some(Ok(Message::Close(Some(close)))) => {
                let code = Some(close.code.into());
                let reason = close.reason.to_string();
                // One more read lets tungstenite answer the close before the socket is dropped.
                let _ = timeout(Duration::from_secs(1), self.stream.next()).await;
                Incoming::Closed(CloseInfo { code, reason })
            }
            Some(Ok(Message::Close(None))) | None => Incoming::Closed(CloseInfo {
                code: None,
                reason: "closed without a code".to_owned(),
            }),
            Some(Err(why)) => Incoming::Closed(connection_lost(&why)),
        }
    }

    fn decode(&self, frame: Bytes) -> Incoming {
        match self.decoder.decode(self.codec, &frame) {
            Ok(message) => Incoming::Message(message),
            Err(unreadable) => Incoming::Unreadable(unreadable),
        }
    }

    /// Returns the next message, for tests that expect one.
    ///
    /// # Errors
    /// The connection ends first, or a frame cannot be decoded.
    pub async fn next_message(&mut self) -> anyhow::Result<Arc<ServerMessage>> {
        loop {
            match self.next().await {
                Incoming::Message(message) => return Ok(message),
                Incoming::KeepAlive => {}
                Incoming::Unreadable(what) => anyhow::bail!("unreadable: {}", what.text),
                Incoming::Closed(closed) => anyhow::bail!("closed: {closed:?}"),
            }
        }
    }

    /// Sends `hello` and returns the `welcome`.
    pub async fn authenticate(&mut self, token: &str) -> anyhow::Result<Arc<ServerMessage>> {
        let token = token.to_owned();
        let client = Some("loadtest".to_owned());
        let sent = self.send(&ClientMessage::Hello { token, client }).await;
        sent.map_err(|closed| anyhow::anyhow!("send hello: {closed:?}"))?;
        let answer = self.next_message().await?;
        anyhow::ensure!(
            matches!(*answer, ServerMessage::Welcome { .. }),
            "expected a welcome, got {answer:?}"
        );
        Ok(answer)
    }

    /// Performs the closing handshake of RFC 6455, waiting at most two seconds for the server's
    /// part.
    pub async fn close(mut self) {
        if self.stream.close(None).await.is_ok() {
            let drained = async { while let Some(Ok(_)) = self.stream.next().await {} };
            let _ = timeout(Duration::from_secs(2), drained).await;
        }
    }
}

fn request(target: &Target, upgrade: &UpgradeRequest) -> Result<Request, ConnectError> {
    let url = format!("ws://{}{SOCKET_PATH}", target.address());
    let mut request = url.into_client_request().map_err(Box::new)?;
    let mut set = |name, value: Option<String>| {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            request.headers_mut().insert(name, value);
        }
    };
    set(header::SEC_WEBSOCKET_PROTOCOL, upgrade.subprotocols.clone());
    set(
        header::AUTHORIZATION,
        upgrade
            .bearer
            .as_ref()
            .map(|token| format!("Bearer {token}")),
    );
    set(header::ORIGIN, upgrade.origin.clone());
    Ok(request)
}

async fn connect(
    network: &dyn Network,
    target: &Target,
    request: Request,
) -> Result<(WebSocketStream<Box<dyn ByteStream>>, Option<String>), ConnectError> {
    let broken = |why| ConnectError::Broken(Box::new(Error::Io(why)));
    let stream = network.connect(*target).await.map_err(broken)?;
    // The default read buffer is 128 KiB per connection: five thousand idle ones would need 640 MB.
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_write_buffer_size(1 << 20)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((stream, response)) => {
            let chosen = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            Ok((
                stream,
                chosen
                    .and_then(|name| name.to_str().ok())
                    .map(str::to_owned),
            ))
        }
        Err(Error::Http(response)) => Err(ConnectError::Refused {
            status: response.status().as_u16(),
            retry_after: response
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok()),
        }),
        Err(Error::Protocol(why)) if why.to_string().contains("SubProtocol") => {
            Err(ConnectError::Subprotocol(None))
        }
        Err(why) => Err(Box::new(why).into()),
    }
}

fn connection_lost(why: &dyn std::error::Error) -> CloseInfo {
    CloseInfo {
        code: None,
        reason: why.to_string(),
    }
}
