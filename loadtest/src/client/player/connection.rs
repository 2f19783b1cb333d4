//! A player's connection: connecting, sending, and what the end of a connection means for the next
//! one.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{ClientMessage, ServerMessage};
use tokio::time::{Instant, timeout};

use super::super::backoff::{CloseClass, STABLE_UPTIME};
use super::super::socket::{CloseInfo, ConnectError, Incoming, Socket};
use super::watch::WatchStatus;
use super::{ConnectionState, Player, PlayerOptions, renewal_time};
use crate::client_log::{ClientLog, Observation};

/// Time limit for the server's first message after `hello`.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);

impl Player {
    pub(super) async fn connect(&mut self) -> bool {
        if self.renew_at <= Instant::now() {
            self.renew_token().await;
        }
        let PlayerOptions {
            rest,
            codec,
            decoder,
            ..
        } = &self.options;
        let targets = rest.targets();
        let target = targets.get(self.server_index);
        let network = &**targets.network();
        match Socket::connect_over(network, &target, *codec, Arc::clone(decoder)).await {
            Ok(socket) => match self.perform_handshake(socket).await {
                Ok(()) => return true,
                Err(closed) => self.handle_disconnect(closed),
            },
            Err(error) => {
                let retry_after = match error {
                    ConnectError::Refused {
                        retry_after: Some(secs),
                        ..
                    } => Duration::from_secs(secs.min(30)),
                    _ => Duration::ZERO,
                };
                *self
                    .counts
                    .ends
                    .entry("not connected".to_owned())
                    .or_default() += 1;
                self.refusing_servers += 1;
                let mut until = Instant::now();
                // Waiting makes sense only when all servers have refused.
                if self.refusing_servers >= rest.targets().count() {
                    self.refusing_servers = 0;
                    until += retry_after + self.lost_delay.next_wait(&mut self.rng);
                }
                self.server_index = rest.targets().next_after(self.server_index);
                self.connection = ConnectionState::Disconnected { until };
            }
        }
        false
    }

    async fn perform_handshake(&mut self, mut socket: Socket) -> Result<(), CloseInfo> {
        let token = self.options.tokens.access_token.clone();
        let client = Some("loadtest".to_owned());
        socket.send(&ClientMessage::Hello { token, client }).await?;
        let silent = CloseInfo {
            code: None,
            reason: "no welcome".to_owned(),
        };
        let first = timeout(WELCOME_TIMEOUT, socket.next())
            .await
            .map_err(|_| silent.clone())?;
        let welcome = match first {
            Incoming::Message(message) => message,
            Incoming::Closed(closed) => return Err(closed),
            Incoming::KeepAlive => return Err(silent),
            Incoming::Unreadable(frame) => {
                self.record_unreadable(&frame);
                return Err(silent);
            }
        };
        let ServerMessage::Welcome {
            heartbeat_ms,
            lineage,
            ..
        } = &*welcome
        else {
            return Err(silent);
        };
        let now = Instant::now();
        let heartbeat = Duration::from_millis(*heartbeat_ms);
        self.refusing_servers = 0;
        self.connection = ConnectionState::Connected {
            socket: Box::new(socket),
            since: now,
            last_received: now,
            heartbeat,
        };
        self.counts.reconnects += u64::from(std::mem::replace(&mut self.has_connected, true));
        self.signals_seen.clear();
        for (raid, view) in &mut self.views {
            let status = view.watch.status();
            if !matches!(status, WatchStatus::Ended | WatchStatus::Abandoned) {
                view.watch.set_status(WatchStatus::Wanted);
            }
            let client = &self.options.client_name;
            let player = self.options.tokens.player.id;
            let log = self
                .logs
                .entry(*raid)
                .or_insert_with(|| ClientLog::new(client, player, *raid));
            log.record(
                self.options.clock.now(),
                Observation::Connected {
                    lineage: lineage.clone(),
                    server: self.server_index,
                },
            );
        }
        self.record_own(Observation::Connected {
            lineage: lineage.clone(),
            server: self.server_index,
        });
        if let Some(own) = &mut self.own_stream {
            own.watch.set_status(WatchStatus::Wanted);
        }
        self.send_watches().await;
        Ok(())
    }

    /// Records the end of the connection and schedules the next one by the class of its close code.
    pub(super) fn handle_disconnect(&mut self, closed: CloseInfo) {
        let now = Instant::now();
        if let ConnectionState::Connected { since, .. } = self.connection
            && now.duration_since(since) >= STABLE_UPTIME
        {
            self.overload_delay.reset();
            self.lost_delay.reset();
        }
        let class = CloseClass::from_code(closed.code);
        let name = closed.code.map_or(closed.reason, |code| code.to_string());
        *self.counts.ends.entry(name).or_default() += 1;
        for raid in self.views.keys().copied().collect::<Vec<_>>() {
            self.record(raid, Observation::Disconnected { code: closed.code });
        }
        self.record_own(Observation::Disconnected { code: closed.code });
        self.pending.mark_all_due(Instant::now());
        self.server_index = self.options.rest.targets().next_after(self.server_index);
        let wait = match class {
            CloseClass::Stop => {
                self.connection = ConnectionState::Stopped;
                return;
            }
            CloseClass::RenewToken => {
                self.renew_at = now;
                self.lost_delay.next_wait(&mut self.rng)
            }
            CloseClass::BackOff => self.overload_delay.next_wait(&mut self.rng),
            CloseClass::Resume => self.announced_reconnect_delay.take().unwrap_or_default(),
            CloseClass::Lost => self.lost_delay.next_wait(&mut self.rng),
        };
        self.connection = ConnectionState::Disconnected { until: now + wait };
    }

    /// Ends the connection, with a close frame or without one, and opens no other for a while.
    pub async fn go_away(&mut self, time: Duration, says_farewell: bool) {
        if let ConnectionState::Connected { socket, .. } = &mut self.connection {
            if says_farewell {
                let _ = socket.send_close().await; // the connection ends anyway
            }
            self.handle_disconnect(CloseInfo {
                code: None,
                reason: "went away".to_owned(),
            });
        }
        let until = self.options.clock.now().plus(time);
        for raid in self.views.keys().copied().collect::<Vec<_>>() {
            self.record(raid, Observation::WentAway { until });
        }
        self.connection = ConnectionState::Away {
            until: Instant::now() + time,
        };
    }

    /// Ends an absence that [`Self::go_away`] began, if there is one.
    pub fn come_back(&mut self) {
        if matches!(self.connection, ConnectionState::Away { .. }) {
            self.connection = ConnectionState::Disconnected {
                until: Instant::now(),
            };
        }
    }

    /// Sends everything that is due on an open connection: a renewed token, repeated watches,
    /// pending commands.
    pub(super) async fn send_due(&mut self) {
        let now = Instant::now();
        if self.renew_at <= now && self.renew_token().await {
            let token = self.options.tokens.access_token.clone();
            let client = None;
            self.send(ClientMessage::Hello { token, client }).await;
        }
        let raids = self.views.values_mut().map(|view| &mut view.watch);
        let own = self.own_stream.iter_mut().map(|own| &mut own.watch);
        for watch in raids.chain(own) {
            self.counts.repairs += u64::from(watch.repeat_if_due(now));
        }
        self.send_watches().await;
        while matches!(self.connection, ConnectionState::Connected { .. })
            && let Some(message) = self.pending.take_due(Instant::now())
        {
            self.send(message).await;
        }
    }

    pub(super) async fn send_watches(&mut self) {
        if !matches!(self.connection, ConnectionState::Connected { .. }) {
            return;
        }
        let wanted = self
            .views
            .iter_mut()
            .filter(|(_, view)| view.watch.status() == WatchStatus::Wanted);
        let mut messages: Vec<_> = wanted
            .map(|(raid, view)| {
                view.watch.set_status(WatchStatus::Requested);
                ClientMessage::Watch {
                    id: None,
                    raid: *raid,
                    since: view.since(),
                }
            })
            .collect();
        if let Some(own) = &mut self.own_stream
            && own.watch.status() == WatchStatus::Wanted
        {
            own.watch.set_status(WatchStatus::Requested);
            messages.push(own.watch_request());
        }
        for message in messages {
            self.send(message).await;
        }
    }

    pub(super) async fn send(&mut self, message: ClientMessage) {
        if let ClientMessage::Watch { raid, .. } | ClientMessage::Do { raid, .. } = &message {
            self.record(*raid, Observation::Sent(message.clone()));
        }
        if matches!(message, ClientMessage::Player(_)) {
            self.record_own(Observation::Sent(message.clone()));
        }
        let ConnectionState::Connected { socket, .. } = &mut self.connection else {
            return;
        };
        if let Err(closed) = socket.send(&message).await {
            // What the server sent last, above all a close code, may still be readable.
            let last = timeout(Duration::from_millis(200), read_until_closed(socket)).await;
            self.handle_disconnect(last.unwrap_or(closed));
        }
    }

    async fn renew_token(&mut self) -> bool {
        let rest = self.options.rest.with_retry_timeout(Duration::ZERO);
        match rest
            .refresh_tokens(&self.options.tokens.refresh_token)
            .await
        {
            Ok(tokens) => {
                self.renew_at = renewal_time(&tokens);
                self.options.tokens = tokens;
                true
            }
            Err(error) => {
                for raid in self.views.keys().copied().collect::<Vec<_>>() {
                    self.record_failure(raid, "new tokens", &error);
                }
                self.renew_at = Instant::now() + Duration::from_secs(2);
                false
            }
        }
    }
}

async fn read_until_closed(socket: &mut Socket) -> CloseInfo {
    loop {
        if let Incoming::Closed(closed) = socket.next().await {
            return closed;
        }
    }
}
