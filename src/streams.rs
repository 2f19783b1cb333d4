//! Players' streams as an instance serves them.
//!
//! A command is decided on what the store has, and appended only if the stream still ends there.
//! Every answer comes after the commit that it reports.

mod append;
mod definitions;
mod followed;
mod lapse;
mod load;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::player::{PlayerCommand, PlayerEvent};
use raidhall_protocol::{PlayerId, Seq};
use tokio::time::Instant;
use tracing::{error, warn};

pub use self::append::AppendBuilder;
pub use self::definitions::CurrentDefinitions;
use self::followed::FollowedStreams;
pub use self::followed::StreamFollower;
use self::lapse::due_lapse;
pub use self::lapse::settled_moment;
pub use self::load::{StreamFault, fold_stream, load_each};
use crate::clock::Clock;
use crate::cluster::client::ClusterClient;
use crate::definitions::Definitions;
use crate::error::Error;
use crate::fanout::outbox::Outbox;
use crate::limits::rate::Rate;
use crate::limits::rate_limiter::RateLimiter;
use crate::player::{Author, PlayerFold, check, decide};
use crate::raid::Ack;
use crate::store::{LoadedStream, OpHash, Store, StoreError, StreamOutcome};
use crate::telemetry::{CommandOutcome, Label, metrics};

/// Commands of one player per second at one instance; twice as many in a burst.
const COMMANDS_PER_SECOND: u32 = 2;
/// The period whose allowance a player may use in one burst.
const BURST_SECS: u32 = 2;
/// How often a command is decided again because the stream has moved on meanwhile.
const ATTEMPTS: u32 = 5;

const PLAYER_NOT_FOUND: Error = Error::NotFound("There is no such player");

/// Executes commands to players' streams, and reads them. Cheap to clone.
#[derive(Clone)]
pub struct Streams(Arc<StreamsInner>);

struct StreamsInner {
    store: Arc<dyn Store>,
    clock: Arc<Clock>,
    cluster: ClusterClient,
    definitions: CurrentDefinitions,
    command_limiter: RateLimiter<PlayerId>,
    followed: FollowedStreams,
}

impl Streams {
    /// Creates the service of one instance.
    pub fn new(store: Arc<dyn Store>, clock: Arc<Clock>, cluster: ClusterClient) -> Streams {
        let rate = Rate::new(
            COMMANDS_PER_SECOND * BURST_SECS,
            Duration::from_secs(BURST_SECS.into()),
        );
        Streams(Arc::new(StreamsInner {
            definitions: CurrentDefinitions::new(Arc::clone(&store)),
            store,
            clock,
            cluster,
            command_limiter: RateLimiter::from_rate(rate),
            followed: FollowedStreams::default(),
        }))
    }

    /// Returns the player's state and its seq.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::NotFound`] if there is no such player, or they were erased.
    pub async fn read(&self, player: PlayerId) -> Result<PlayerFold, Error> {
        self.load(player, None).await.map(|(fold, _)| fold)
    }

    /// Returns the states of players, without those who do not exist or were erased. Also leaves out
    /// those whose stream is damaged, which it logs.
    ///
    /// # Errors
    ///
    /// Fails if the store is unavailable.
    pub async fn read_many(
        &self,
        players: &[PlayerId],
    ) -> Result<HashMap<PlayerId, PlayerFold>, Error> {
        let loaded = load_each(&*self.0.store, players).await.map_err(report)?;
        let mut folds = HashMap::new();
        for (player, stream) in loaded {
            let folded = match stream {
                Ok(stream) => self.fold(player, stream).await,
                Err(error) => Err(report(error)),
            };
            match folded {
                Ok(fold) => {
                    folds.insert(player, fold);
                }
                Err(Error::Internal) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(folds)
    }

    /// Returns the definitions of progression that this instance has read, to share them.
    pub fn current_definitions(&self) -> CurrentDefinitions {
        self.0.definitions.clone()
    }

    /// Returns the definitions for a command, which may be those of a few seconds ago.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Unavailable`] if the store fails, or if only a newer release can read the
    /// definitions: another attempt may reach an instance of it.
    pub async fn definitions(&self) -> Result<Arc<Definitions>, Error> {
        self.0.definitions.newest().await.map_err(report)
    }

    /// Returns events of the player's stream with a seq above `after`, oldest first, at most
    /// `limit`.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub async fn events(
        &self,
        player: PlayerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<PlayerEvent>, Error> {
        let events = self.0.store.stream_events(player, after, limit).await;
        events.map_err(report)
    }

    /// Executes a command. It is charged to the player's allowance, unless the host app's backend
    /// sends it.
    ///
    /// # Errors
    ///
    /// Fails if the command is refused, or if the store fails. Then it may have taken effect; an op
    /// makes the retry safe.
    pub async fn execute(
        &self,
        player: PlayerId,
        author: Author,
        command: &PlayerCommand,
        op: Option<OpHash>,
    ) -> Result<Ack, Error> {
        let started = Instant::now();
        let result = self.try_execute(player, author, command, op).await;
        let outcome = CommandOutcome::of(&result).as_str();
        metrics()
            .client_commands
            .increment([command.kind(), outcome]);
        metrics().command_seconds.record(started.elapsed());
        result
    }

    async fn try_execute(
        &self,
        player: PlayerId,
        author: Author,
        command: &PlayerCommand,
        op: Option<OpHash>,
    ) -> Result<Ack, Error> {
        if author == Author::Player {
            let charged = self.0.command_limiter.charge(&player);
            charged.map_err(|exceeded| Error::RateLimited(exceeded.retry_after))?;
        }
        // Before the op is looked up: bad values are refused under any op.
        let command = check(author, command)?;
        let definitions = self.definitions().await?;
        for _ in 0..ATTEMPTS {
            let (fold, op_seq) = self.load(player, op).await?;
            if let Some(seq) = op_seq {
                return Ok(Ack {
                    seq,
                    duplicate: true,
                });
            }
            let now = self.0.clock.now().max(fold.at);
            let seq = fold.seq;
            let lapsed_at = due_lapse(&*self.0.store, &fold, now).await;
            let lapsed_at = lapsed_at.map_err(report)?;
            let mut append = AppendBuilder::new(fold);
            if let Some((lapsed_at, rules)) = lapsed_at.zip(definitions.streaks) {
                append.add_loss(lapsed_at, now, &rules);
            }
            let decided = decide(append.fold(), &command, &definitions, now)?;
            if decided.is_empty() {
                return Ok(Ack {
                    seq,
                    duplicate: false,
                });
            }
            append.add(decided, now, None, op);
            let (append, _) = append.build();
            match self.0.store.append_to_stream(&append).await {
                Ok(StreamOutcome::Appended) => {
                    self.announce(player, append.last_seq());
                    return Ok(Ack {
                        seq: append.last_seq(),
                        duplicate: false,
                    });
                }
                Ok(StreamOutcome::Moved) => {}
                Ok(StreamOutcome::Gone) => return Err(PLAYER_NOT_FOUND),
                Err(error) => return Err(report(error)),
            }
        }
        Err(Error::Unavailable)
    }

    /// Follows a player's stream for a connection, which is woken when the stream has moved on. Read
    /// the stream after that, so that no event is missed.
    pub async fn follow(&self, player: PlayerId, outbox: Arc<Outbox>) -> StreamFollower {
        let follower = StreamFollower::new(self.clone(), player, outbox);
        self.0.cluster.follow_stream(player).await;
        follower
    }

    /// Wakes those who follow a player's stream, at all instances.
    pub fn announce(&self, player: PlayerId, head: Seq) {
        self.advance(player, head);
        self.0.cluster.announce_stream_head(player, head);
    }

    /// Takes note that a player's stream has events up to a seq, and wakes those who follow it.
    pub fn advance(&self, player: PlayerId, head: Seq) {
        self.0.followed.advance(player, head);
    }

    /// Returns the players whose streams are followed.
    pub fn followed_players(&self) -> Vec<PlayerId> {
        self.0.followed.players()
    }

    /// Loads and folds a stream. Also returns the seq of the event that carries the op, if one does.
    async fn load(
        &self,
        player: PlayerId,
        op: Option<OpHash>,
    ) -> Result<(PlayerFold, Option<Seq>), Error> {
        let loaded = self.0.store.load_stream(player, op).await.map_err(report)?;
        let loaded = loaded.ok_or(PLAYER_NOT_FOUND)?;
        let op_seq = loaded.op_seq;
        Ok((self.fold(player, loaded).await?, op_seq))
    }

    async fn fold(&self, player: PlayerId, loaded: LoadedStream) -> Result<PlayerFold, Error> {
        let folded = fold_stream(&*self.0.store, player, loaded).await;
        folded.map_err(|fault| match fault {
            StreamFault::Store(error) => report(error),
            StreamFault::Gap { .. } => Error::Internal,
        })
    }
}

/// Logs a failure of the store, and returns what the caller is told.
fn report(error: StoreError) -> Error {
    match error {
        StoreError::Refused { .. } => {
            error!(?error, "a player's stream: the store refuses");
            Error::Internal
        }
        StoreError::Unavailable { .. }
        | StoreError::NewerVersion { .. }
        | StoreError::NewerDefinitions { .. } => {
            warn!(?error, "a player's stream: store unavailable");
            Error::Unavailable
        }
    }
}

#[cfg(test)]
mod tests;
