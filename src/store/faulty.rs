//! A store that fails on demand: a decorator around another store, for tests of the store's
//! callers.
//!
//! Each call is counted, delayed or failed as the test planned it or as it is drawn at random, and
//! then forwarded to the inner store. A call can also hang and take effect later, whether or not its
//! caller still waits. Commits can lose their reply or be refused. What was
//! committed, by which instance and when, is recorded.

mod commit_log;
mod faults;

use std::ops::{Deref, Range};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use commit_log::{CommitLog, WriterConflict};
pub use faults::{Call, InjectedFaults, RandomFaults};
use raidhall_protocol::player::PlayerEvent;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::rest::{Contribution, Profile};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, UnixMillis};

use super::audit::AuditRow;
use super::webhooks::{EndpointProgress, EndpointRow, ParkedDelivery, ProgressUpdate, Replay};
use super::*;
use crate::progression::{BoardWindowId, DefinitionsNumber};

/// A connection to a store, with its own faults. Clones share both.
pub struct Faulty<S> {
    store: Arc<S>,
    commit_log: Arc<CommitLog>,
    faults: InjectedFaults,
}

impl<S: Store> Store for Faulty<S> {}

impl<S> Faulty<S> {
    /// Creates a connection without faults to a new store.
    pub fn new(store: S) -> Faulty<S> {
        Faulty {
            store: Arc::new(store),
            commit_log: Arc::default(),
            faults: InjectedFaults::default(),
        }
    }

    /// Creates another connection to the same store, with its own faults, so that a test can cut
    /// off a single instance.
    pub fn new_connection(&self) -> Faulty<S> {
        Faulty {
            store: Arc::clone(&self.store),
            commit_log: Arc::clone(&self.commit_log),
            faults: InjectedFaults::default(),
        }
    }

    /// Returns the faults of this connection.
    pub fn faults(&self) -> &InjectedFaults {
        &self.faults
    }

    /// Returns the record of commits that all connections to the store share.
    pub fn commit_log(&self) -> &CommitLog {
        &self.commit_log
    }
}

impl<S: Default> Default for Faulty<S> {
    fn default() -> Self {
        Faulty::new(S::default())
    }
}

impl<S> Clone for Faulty<S> {
    fn clone(&self) -> Self {
        Faulty {
            store: Arc::clone(&self.store),
            commit_log: Arc::clone(&self.commit_log),
            faults: self.faults.clone(),
        }
    }
}

/// Gives access to the inner store's own methods, beside those of the store's traits.
impl<S> Deref for Faulty<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

/// An owned argument of a call that may outlive its caller, as the inner store takes it.
trait Lend<'a, T> {
    fn lend(&'a self) -> T;
}

impl<T: Clone> Lend<'_, T> for T {
    fn lend(&self) -> T {
        self.clone()
    }
}

impl<'a, T> Lend<'a, &'a T> for T {
    fn lend(&'a self) -> &'a T {
        self
    }
}

impl<'a, T> Lend<'a, &'a [T]> for Vec<T> {
    fn lend(&'a self) -> &'a [T] {
        self
    }
}

impl<'a> Lend<'a, &'a str> for String {
    fn lend(&'a self) -> &'a str {
        self
    }
}

/// Implements a store trait: each call passes through the faults, then goes to the inner store.
macro_rules! faulty {
    (
        $trait:ident {
            $($call:ident => $method:ident($($argument:ident: $type:ty),*) -> $result:ty;)*
        }
        $($other:tt)*
    ) => {
        #[async_trait]
        impl<S: $trait> $trait for Faulty<S> {
            $(
                async fn $method(&self, $($argument: $type),*) -> $result {
                    self.faults.before_call(Call::$call).await?;
                    let store = Arc::clone(&self.store);
                    $(let $argument = $argument.to_owned();)*
                    let effect = async move { store.$method($($argument.lend()),*).await };
                    let result = self.faults.take_effect(Call::$call, effect).await;
                    self.faults.after_call(Call::$call).await?;
                    result
                }
            )*
            $($other)*
        }
    };
}

faulty! {
    Leases {
        Register => register(instance: &InstanceRecord, ttl: Duration, patience: Duration) -> Result<Renewal, RegisterError>;
        Renew => renew(instance: &InstanceRecord, ttl: Duration) -> Result<Renewal>;
        EndStaleLease => end_stale_lease(instance: InstanceId, lease_until: UnixMillis) -> Result<()>;
        Deregister => deregister(instance: InstanceId) -> Result<()>;
        Space => space() -> Result<Option<DatabaseSpace>>;
        Maintain => maintain(now: UnixMillis) -> Result<MaintenanceReport>;
    }
    fn has_exclusive_lock(&self) -> bool {
        self.store.has_exclusive_lock()
    }
}

faulty! {
    Ownership {
        Claim => claim(raids: &[RaidId], instance: InstanceId) -> Result<Vec<ClaimOutcome>>;
        Release => release(raids: &[(RaidId, Epoch)], instance: InstanceId) -> Result<()>;
        Heads => heads(raids: &[RaidId]) -> Result<Vec<(RaidId, RaidHead)>>;
        OwnedRaids => owned_raids(instance: InstanceId) -> Result<Vec<(RaidId, Epoch)>>;
        DueRaids => due_raids(instance: InstanceId, after: Option<DueRaid>, until: UnixMillis, limit: u32) -> Result<Vec<DueRaid>>;
    }
}

faulty! {
    Ledger {
        Load => load(raid: RaidId, op_keys: u64) -> Result<Option<LoadedRaid>>;
        Events => events(raid: RaidId, after: Seq, limit: u32) -> Result<Vec<Event>>;
        EventsAt => events_at(places: &[RaidPlace]) -> Result<Vec<CommittedEvent>>;
        Contributions => contributions(raid: RaidId, after: Seq, limit: u32) -> Result<Vec<Contribution>>;
        FindOps => find_ops(raid: RaidId, ops: &[OpHash]) -> Result<Vec<(OpHash, Seq)>>;
        SaveSnapshot => save_snapshot(raid: RaidId, owner: InstanceId, epoch: Epoch, seq: Seq, state: &[u8]) -> Result<()>;
    }
    async fn commit(&self, batch: &[Append]) -> Result<Vec<CommitOutcome>> {
        self.faults.before_call(Call::Commit).await?;
        let store = Arc::clone(&self.store);
        let commit_log = Arc::clone(&self.commit_log);
        let sent = batch.to_vec();
        let effect = async move {
            let outcomes = store.commit(&sent).await?;
            commit_log.record(&sent, &outcomes);
            Ok(outcomes)
        };
        let outcomes = self.faults.commit(batch, effect).await;
        self.faults.after_call(Call::Commit).await?;
        outcomes
    }
}

faulty! {
    Catalog {
        ReserveRaidIds => reserve_raid_ids(count: u32) -> Result<Range<u64>>;
        RaidByInvite => raid_by_invite(code: &str) -> Result<Option<RaidId>>;
        RaidByCreateKey => raid_by_create_key(key: OpHash) -> Result<Option<RaidId>>;
        RaidsByMember => raids_by_member(player: PlayerId, status: Option<RaidStatus>, before: Option<RaidId>, limit: u32) -> Result<Vec<RaidRow>>;
        RaidMembers => raid_members(raids: &[RaidId], limit: u32) -> Result<Vec<RaidMembers>>;
        RaidsEverJoined => raids_ever_joined(player: PlayerId, after: Option<RaidId>, limit: u32) -> Result<Vec<RaidId>>;
        FilterEverJoined => filter_ever_joined(pairs: &[(RaidId, PlayerId)]) -> Result<Vec<(RaidId, PlayerId)>>;
    }
}

faulty! {
    Accounts {
        CreatePlayer => create_player(name: &str) -> Result<Profile>;
        Player => player(player: PlayerId) -> Result<Option<Profile>>;
        Account => account(player: PlayerId, now: UnixMillis) -> Result<Option<Account>>;
        DeleteUnusedGuests => delete_unused_guests(after: Option<PlayerId>, limit: u32, unused_since: UnixMillis, now: UnixMillis) -> Result<DeletedGuests>;
        CreateTokenFamily => create_token_family(family: FamilyId, player: PlayerId, token: TokenHash, now: UnixMillis, ttl: Duration) -> Result<()>;
        RotateRefreshToken => rotate_refresh_token(presentation: RotationRequest) -> Result<RotationOutcome>;
    }
}

faulty! {
    Identities {
        PlayerByIdentity => player_by_identity(external_id: &str) -> Result<Option<PlayerRef>>;
        FindOrCreateByIdentity => find_or_create_by_identity(external_id: &str, name: &str) -> Result<PlayerRef>;
        LinkIdentity => link_identity(player: PlayerId, external_id: &str) -> Result<LinkOutcome>;
        ConsumeProof => consume_proof(proof: [u8; 32], now: UnixMillis, ttl: Duration) -> Result<bool>;
    }
}

faulty! {
    Moderation {
        Ban => ban(player: PlayerId, reason: &str, entry: &NewAuditEntry) -> Result<bool>;
        Unban => unban(player: PlayerId, entry: &NewAuditEntry) -> Result<bool>;
        Disconnect => disconnect(player: PlayerId, entry: &NewAuditEntry) -> Result<bool>;
        Bans => bans(after: Option<PlayerId>, limit: u32) -> Result<Vec<BanRow>>;
        SignOut => sign_out(family: FamilyId, now: UnixMillis, ttl: Duration) -> Result<()>;
        Notices => notices(after: u64, now: UnixMillis) -> Result<NoticeBatch>;
    }
}

faulty! {
    Erasures {
        BeginErasure => begin_erasure(player: PlayerId, name: &str, entry: &NewAuditEntry) -> Result<bool>;
        TakeErasure => take_erasure(now: UnixMillis, again: Duration) -> Result<Option<Erasure>>;
        RewriteEvents => rewrite_events(raid: RaidId, events: &[Event], before: Seq) -> Result<()>;
        EndErasure => end_erasure(player: PlayerId) -> Result<()>;
    }
}

faulty! {
    AuditLog {
        RecordAudit => record_audit(entry: &NewAuditEntry) -> Result<()>;
        AuditEntries => audit_entries(after: u64, limit: u32) -> Result<Vec<AuditRow>>;
    }
}

faulty! {
    Lookups {
        FindPlayers => find_players(lookup: &PlayerLookup, limit: u32) -> Result<Vec<PlayerRow>>;
        FindRaids => find_raids(lookup: &RaidLookup, limit: u32) -> Result<Vec<RaidRow>>;
        Instances => instances() -> Result<Vec<InstanceRow>>;
    }
}

faulty! {
    Feed {
        ReadFeed => read_feed(after: FeedCursor, limit: u32) -> Result<FeedBatch>;
        FeedEnd => feed_end() -> Result<(String, FeedCursor)>;
        OldestOpenTransaction => oldest_open_transaction() -> Result<Option<OpenTransaction>>;
    }
}

faulty! {
    PlayerStreams {
        LoadStream => load_stream(player: PlayerId, op: Option<OpHash>) -> Result<Option<LoadedStream>>;
        AppendToStream => append_to_stream(append: &StreamAppend) -> Result<StreamOutcome>;
        StreamEvents => stream_events(player: PlayerId, after: Seq, limit: u32) -> Result<Vec<PlayerEvent>>;
        PlayersWithStreams => players_with_streams(after: Option<PlayerId>, limit: u32) -> Result<Vec<PlayerId>>;
        DueStreaks => due_streaks(until: UnixMillis, after: Option<DueStreak>, limit: u32) -> Result<Vec<DueStreak>>;
        StreamHeads => stream_heads(players: &[PlayerId]) -> Result<Vec<(PlayerId, Seq)>>;
    }
}

faulty! {
    Projection {
        AcquireProjector => acquire_projector(instance: InstanceId) -> Result<Option<FeedCursor>>;
        ReleaseProjector => release_projector(instance: InstanceId) -> Result<()>;
        BoardsFinalUntil => boards_final_until() -> Result<UnixMillis>;
        FinishBoards => finish_boards(instance: InstanceId, until: UnixMillis) -> Result<bool>;
        ProjectorPlace => projector_place() -> Result<FeedCursor>;
        LoadStreams => load_streams(players: &[PlayerId]) -> Result<Vec<(PlayerId, LoadedStream)>>;
        FindStreamOps => find_stream_ops(ops: &[(PlayerId, OpHash)]) -> Result<Vec<(PlayerId, OpHash)>>;
        CommitProjection => commit_projection(instance: InstanceId, page: &ProjectedPage) -> Result<ProjectionOutcome>;
        FailedCauses => failed_causes(after: Option<PlayerId>, limit: u32) -> Result<Vec<FailedCause>>;
        CountFailedCauses => count_failed_causes() -> Result<u64>;
    }
}

faulty! {
    Boards {
        BoardsSince => boards_since() -> Result<UnixMillis>;
        ListedScores => listed_scores(window: &BoardWindowId, part: BoardPart, limit: u32) -> Result<Vec<BoardPosition>>;
        CountListedBefore => count_listed_before(window: &BoardWindowId, position: &BoardPosition) -> Result<u64>;
        ScoresInWindow => scores_in_window(window: &BoardWindowId, players: &[PlayerId]) -> Result<Vec<BoardScore>>;
        ScoresOfPlayer => scores_of_player(player: PlayerId, after: &BoardWindowId, limit: u32) -> Result<Vec<(BoardWindowId, BoardScore)>>;
        SetRemoved => set_removed(window: &BoardWindowId, player: PlayerId, is_removed: bool, entry: &NewAuditEntry) -> Result<bool>;
        DeleteEmptyCounts => delete_empty_counts(limit: u32) -> Result<u32>;
    }
}

faulty! {
    ProgressionDefinitions {
        DefinitionsAfter => definitions_after(after: Option<DefinitionsNumber>) -> Result<Vec<StoredDefinitions>>;
        AddDefinitions => add_definitions(number: DefinitionsNumber, body: &str) -> Result<bool>;
    }
}

faulty! {
    WebhookDeliveries {
        AcquireEndpoint => acquire_endpoint(name: &str, instance: InstanceId) -> Result<Option<EndpointProgress>>;
        ReleaseEndpoint => release_endpoint(name: &str, instance: InstanceId) -> Result<()>;
        SaveProgress => save_progress(name: &str, instance: InstanceId, progress: &ProgressUpdate) -> Result<bool>;
        DueDeliveries => due_deliveries(name: &str, now: UnixMillis, limit: u32) -> Result<Vec<ParkedDelivery>>;
        ParkedDeliveries => parked_deliveries(name: &str, dead: bool, after: u64, limit: u32) -> Result<Vec<ParkedDelivery>>;
        Endpoints => endpoints() -> Result<Vec<EndpointRow>>;
        ReplayDeliveries => replay_deliveries(name: &str, what: Replay, entry: &NewAuditEntry) -> Result<u64>;
        ResumeEndpoint => resume_endpoint(name: &str, entry: &NewAuditEntry) -> Result<bool>;
    }
}
