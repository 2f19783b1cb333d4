//! A player's connection: how it is made, what goes over it, and what its end means for the next one.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::{ClientMessage, ServerMessage};
use tokio::time::{Instant, timeout};

use super::super::backoff::{CloseClass, UPTIME_THAT_RESETS};
use super::super::socket::{Closed, ConnectError, Incoming, Socket};
use super::view::Phase;
use super::{Equipment, Line, Player, renewal};
use crate::ledger::{Entry, Ledger};

/// How long the first answer may take.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server's heads may be ahead of what the client holds before it asks again.
pub(super) const BEHIND_PATIENCE: Duration = Duration::from_secs(1);

impl Player {
    pub(super) async fn connect(&mut self) -> bool {
        if self.renew_at <= Instant::now() {
            self.renew().await;
        }
        let Equipment {
            rest,
            codec,
            decoder,
            ..
        } = &self.equipment;
        let target = rest.targets().get(self.place);
        match Socket::connect(&target, *codec, Arc::clone(decoder)).await {
            Ok(socket) => match self.greet(socket).await {
                Ok(()) => return true,
                Err(closed) => self.hang_up(closed),
            },
            Err(error) => {
                let told = match error {
                    ConnectError::Refused {
                        retry_after: Some(secs),
                        ..
                    } => Duration::from_secs(secs.min(30)),
                    _ => Duration::ZERO,
                };
                *self
                    .tally
                    .ends
                    .entry("not connected".to_owned())
                    .or_default() += 1;
                self.refused += 1;
                let mut until = Instant::now();
                // Only when all have refused is there a reason to wait.
                if self.refused >= rest.targets().count() {
                    self.refused = 0;
                    until += told + self.lost.wait(&mut self.rng);
                }
                self.place = rest.targets().after(self.place);
                self.line = Line::Down { until };
            }
        }
        false
    }

    async fn greet(&mut self, mut socket: Socket) -> Result<(), Closed> {
        let (token, client) = (
            self.equipment.tokens.access_token.clone(),
            Some("loadtest".to_owned()),
        );
        socket.send(&ClientMessage::Hello { token, client }).await?;
        let silent = Closed {
            code: None,
            reason: "no welcome".to_owned(),
        };
        let first = timeout(WELCOME_TIMEOUT, socket.next())
            .await
            .map_err(|_| silent.clone())?;
        let welcome = match first {
            Incoming::Message(message) => message,
            Incoming::Closed(closed) => return Err(closed),
            Incoming::Alive | Incoming::Unreadable(_) => return Err(silent),
        };
        let ServerMessage::Welcome {
            heartbeat_ms,
            lineage,
            ..
        } = &*welcome
        else {
            return Err(silent);
        };
        let (now, heartbeat) = (Instant::now(), Duration::from_millis(*heartbeat_ms));
        self.refused = 0;
        self.line = Line::Up {
            socket: Box::new(socket),
            since: now,
            heard: now,
            heartbeat,
        };
        self.tally.reconnects += u64::from(std::mem::replace(&mut self.connected_before, true));
        for (raid, view) in &mut self.views {
            if !matches!(view.phase, Phase::Ended | Phase::Forgotten) {
                view.phase = Phase::Wanted;
            }
            let (client, player) = (&self.equipment.name, self.equipment.tokens.player.id);
            let ledger = self
                .ledgers
                .entry(*raid)
                .or_insert_with(|| Ledger::new(client, player, *raid));
            ledger.note(
                self.equipment.clock.now(),
                Entry::Connected {
                    lineage: lineage.clone(),
                    server: self.place,
                },
            );
        }
        self.send_watches().await;
        Ok(())
    }

    /// The connection is gone: what its end means for the next one.
    pub(super) fn hang_up(&mut self, closed: Closed) {
        let now = Instant::now();
        if let Line::Up { since, .. } = self.line
            && now.duration_since(since) >= UPTIME_THAT_RESETS
        {
            self.overloaded.reset();
            self.lost.reset();
        }
        let class = CloseClass::of(closed.code);
        let name = closed.code.map_or(closed.reason, |code| code.to_string());
        *self.tally.ends.entry(name).or_default() += 1;
        for raid in self.views.keys().copied().collect::<Vec<_>>() {
            self.note(raid, Entry::Disconnected { code: closed.code });
        }
        self.pending.lost(Instant::now());
        self.place = self.equipment.rest.targets().after(self.place);
        let wait = match class {
            CloseClass::Stop => {
                self.line = Line::GivenUp;
                return;
            }
            CloseClass::Renew => {
                self.renew_at = now;
                self.lost.wait(&mut self.rng)
            }
            CloseClass::BackOff => self.overloaded.wait(&mut self.rng),
            CloseClass::Resume => self.bye.take().unwrap_or_default(),
            CloseClass::Lost => self.lost.wait(&mut self.rng),
        };
        self.line = Line::Down { until: now + wait };
    }

    /// Everything that is due on a live connection.
    pub(super) async fn send_due(&mut self) {
        let now = Instant::now();
        if self.renew_at <= now && self.renew().await {
            let (token, client) = (self.equipment.tokens.access_token.clone(), None);
            self.send(ClientMessage::Hello { token, client }).await;
        }
        for view in self.views.values_mut() {
            if view
                .behind_since
                .is_some_and(|since| since + BEHIND_PATIENCE <= now)
            {
                view.behind_since = None;
                view.phase = Phase::Wanted;
                self.tally.repairs += 1;
            }
        }
        self.send_watches().await;
        while matches!(self.line, Line::Up { .. })
            && let Some(message) = self.pending.take_due(Instant::now())
        {
            self.send(message).await;
        }
    }

    pub(super) async fn send_watches(&mut self) {
        if !matches!(self.line, Line::Up { .. }) {
            return;
        }
        let wanted = self
            .views
            .iter_mut()
            .filter(|(_, view)| view.phase == Phase::Wanted);
        let messages: Vec<_> = wanted
            .map(|(raid, view)| {
                view.phase = Phase::Asked;
                ClientMessage::Watch {
                    id: None,
                    raid: *raid,
                    since: view.since(),
                }
            })
            .collect();
        for message in messages {
            self.send(message).await;
        }
    }

    pub(super) async fn send(&mut self, message: ClientMessage) {
        if let ClientMessage::Watch { raid, .. } | ClientMessage::Do { raid, .. } = &message {
            self.note(*raid, Entry::Sent(message.clone()));
        }
        let Line::Up { socket, .. } = &mut self.line else {
            return;
        };
        if let Err(closed) = socket.send(&message).await {
            // What the server said last, a close code above all, may still be readable.
            let last = timeout(Duration::from_millis(200), last_word(socket)).await;
            self.hang_up(last.unwrap_or(closed));
        }
    }

    async fn renew(&mut self) -> bool {
        let rest = self.equipment.rest.with_patience(Duration::ZERO);
        match rest.refresh(&self.equipment.tokens.refresh_token).await {
            Ok(tokens) => {
                self.renew_at = renewal(&tokens);
                self.equipment.tokens = tokens;
                true
            }
            Err(_) => {
                self.renew_at = Instant::now() + Duration::from_secs(2);
                false
            }
        }
    }
}

async fn last_word(socket: &mut Socket) -> Closed {
    loop {
        if let Incoming::Closed(closed) = socket.next().await {
            return closed;
        }
    }
}
