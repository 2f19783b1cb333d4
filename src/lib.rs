//! Raidhall: a real-time WebSocket game-session server for co-op raids.
