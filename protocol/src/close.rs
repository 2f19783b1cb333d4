//! Close codes of a WebSocket. The class of a code tells every client, even an old one, what to do.

/// Reason why the server closed a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// A frame could not be decoded. The client must not retry unchanged.
    BadMessage,
    /// The client sent no `hello`, or its token is bad or expired. It needs a new token first.
    Unauthenticated,
    /// The player is banned. The client must stop.
    Forbidden,
    /// The player has too many connections; the oldest stay. The client must stop.
    TooManyConnections,
    /// The server could not check the token. The client backs off: 1 s doubling to 30 s, with full
    /// jitter.
    Overloaded,
    /// The client went on flooding after errors. It backs off.
    RateLimited,
    /// The server shuts down. The client reconnects after `reconnect_after_ms` and resumes.
    Draining,
    /// No byte arrived for two heartbeats. The client reconnects and resumes at once.
    HeartbeatTimeout,
    /// The client was stuck even after a collapse. It reconnects and resumes at once.
    SlowConsumer,
    /// The client closed the connection.
    Normal,
    /// The client broke the WebSocket protocol (RFC 6455 section 7.4.1).
    ProtocolError,
    /// A text message was not UTF-8.
    InvalidPayload,
    /// A message exceeded the size limit.
    MessageTooBig,
}

impl CloseCode {
    /// Every close code that the server sends.
    pub const ALL: [CloseCode; 13] = [
        Self::Normal,
        Self::ProtocolError,
        Self::InvalidPayload,
        Self::MessageTooBig,
        Self::BadMessage,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::TooManyConnections,
        Self::Overloaded,
        Self::RateLimited,
        Self::Draining,
        Self::HeartbeatTimeout,
        Self::SlowConsumer,
    ];

    /// Returns the number in the Close frame.
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::ProtocolError => 1002,
            Self::InvalidPayload => 1007,
            Self::MessageTooBig => 1009,
            Self::BadMessage => 4000,
            Self::Unauthenticated => 4001,
            Self::Forbidden => 4003,
            Self::TooManyConnections => 4004,
            Self::Overloaded => 4100,
            Self::RateLimited => 4101,
            Self::Draining => 4200,
            Self::HeartbeatTimeout => 4201,
            Self::SlowConsumer => 4202,
        }
    }

    /// Returns the name in the Close frame and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ProtocolError => "protocol_error",
            Self::InvalidPayload => "invalid_payload",
            Self::MessageTooBig => "message_too_big",
            Self::BadMessage => "bad_message",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::TooManyConnections => "too_many_connections",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
            Self::Draining => "draining",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::SlowConsumer => "slow_consumer",
        }
    }
}
