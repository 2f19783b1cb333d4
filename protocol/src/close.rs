//! The close codes. Their class tells any client, even an old one, what to do.

/// Why the server closed a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// A frame that cannot be decoded. Don't retry unchanged.
    BadMessage,
    /// No `hello`, or a bad or expired token. Get a new token first.
    Unauthenticated,
    /// Banned. Stop.
    Forbidden,
    /// This player has too many connections; the oldest stay. Stop.
    TooManyConnections,
    /// Back off: 1 s doubling to 30 s, full jitter.
    Overloaded,
    /// Kept flooding after errors. Back off.
    RateLimited,
    /// The server is going away. Reconnect after `reconnect_after_ms` and resume.
    Draining,
    /// Two heartbeats without a byte. Reconnect and resume at once.
    HeartbeatTimeout,
    /// Stuck even after collapsing. Reconnect and resume at once.
    SlowConsumer,
    /// The client said goodbye.
    Normal,
    /// The peer broke the WebSocket protocol (RFC 6455 section 7.4.1).
    ProtocolError,
    /// A text message that is not UTF-8.
    InvalidPayload,
    /// A message over the size limit.
    MessageTooBig,
}

impl CloseCode {
    /// Every code.
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

    /// The number in the Close frame.
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

    /// The name in the Close frame and in metrics.
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
