//! The tables of the in-memory store, and each call's effect on them: the store's contract in its
//! simplest form.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use anyhow::ensure;
use raidhall_protocol::rest::{Contribution, Profile};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};
use tokio::time::Instant;

use super::boards::BoardTables;
use super::projection::ProjectionTables;
use super::streams::StoredStream;
use super::webhooks::WebhookTables;
use crate::store::effects::{self, Leadership, RaidCreation};
use crate::store::*;

#[derive(Default)]
pub(super) struct AccountTables {
    pub(super) bans: BTreeMap<PlayerId, (String, String, UnixMillis)>,
    pub(super) notices: Vec<Notice>,
    pub(super) audit: Vec<audit::AuditRow>,
    pub(super) identities: BTreeMap<PlayerId, String>,
    pub(super) proofs: HashMap<[u8; 32], UnixMillis>,
    /// When each erased player's account was closed.
    pub(super) erased: BTreeMap<PlayerId, UnixMillis>,
    pub(super) erase_due: BTreeMap<PlayerId, UnixMillis>,
}

pub(super) struct Tables {
    pub(super) accounts: AccountTables,
    pub(super) webhooks: WebhookTables,
    pub(super) projection: ProjectionTables,
    pub(super) boards: BoardTables,
    clock: (UnixMillis, Instant),
    pub(super) lineage: String,
    raid_ids_reserved: u64,
    pub(super) instances: BTreeMap<InstanceId, InstanceLease>,
    pub(super) raids: BTreeMap<RaidId, StoredRaid>,
    /// Every event, in commit order.
    pub(super) feed: Vec<CommittedEvent>,
    pub(super) definitions: Vec<StoredDefinitions>,
    /// When each member joined.
    members: BTreeMap<(PlayerId, RaidId), UnixMillis>,
    /// All present and former members.
    ever_joined: BTreeSet<(PlayerId, RaidId)>,
    pub(super) players: BTreeMap<PlayerId, Profile>,
    pub(super) streams: BTreeMap<PlayerId, StoredStream>,
    pub(super) families: HashMap<FamilyId, TokenFamily>,
}

pub(super) struct InstanceLease {
    pub(super) ws_url: String,
    pub(super) release: String,
    pub(super) draining: bool,
    pub(super) ttl: Duration,
    pub(super) until: UnixMillis,
}

pub(super) struct StoredRaid {
    pub(super) row: RaidRow,
    created_month: Month,
    create_key: Option<OpHash>,
    /// The leader while the raid is open.
    leader: Option<PlayerId>,
    owner: Option<InstanceId>,
    epoch: Epoch,
    pub(super) events: Vec<Event>,
    ops: BTreeMap<Seq, OpHash>,
    pub(super) snapshot: Option<(Seq, Vec<u8>)>,
}

pub(super) struct TokenFamily {
    pub(super) player: PlayerId,
    current: TokenHash,
    previous: Option<TokenHash>,
    renewed_at: UnixMillis,
    expires_at: UnixMillis,
}

impl Tables {
    pub(super) fn new(now: UnixMillis) -> Tables {
        Tables {
            accounts: AccountTables::default(),
            webhooks: WebhookTables::default(),
            projection: ProjectionTables::default(),
            boards: BoardTables::new(now),
            clock: (now, Instant::now()),
            lineage: Uuid::from_u128(rand::random()).to_string(),
            raid_ids_reserved: 0,
            instances: BTreeMap::new(),
            raids: BTreeMap::new(),
            feed: Vec::new(),
            definitions: Vec::new(),
            members: BTreeMap::new(),
            ever_joined: BTreeSet::new(),
            players: BTreeMap::new(),
            streams: BTreeMap::new(),
            families: HashMap::new(),
        }
    }

    pub(super) fn now(&self) -> UnixMillis {
        add_duration(self.clock.0, self.clock.1.elapsed())
    }

    pub(super) fn set_now(&mut self, now: UnixMillis) {
        self.clock = (now, Instant::now());
    }

    pub(super) fn renew(&mut self, instance: &InstanceRecord, ttl: Duration) -> Renewal {
        let now = self.now();
        let InstanceRecord {
            id,
            ws_url,
            draining,
            release,
        } = instance.clone();
        let former = self.instances.insert(
            id,
            InstanceLease {
                ws_url,
                release,
                draining,
                ttl,
                until: add_duration(now, ttl),
            },
        );
        let lapsed = former.is_none_or(|former| former.until <= now);
        let living = self
            .instances
            .iter()
            .filter(|(peer, lease)| **peer != id && lease.until > now);
        let peers = living.map(|(peer, lease)| PeerInstance {
            id: *peer,
            ws_url: lease.ws_url.clone(),
            draining: lease.draining,
            ttl: lease.ttl,
            lease_until: lease.until,
        });
        Renewal {
            now,
            lineage: self.lineage.clone(),
            lapsed,
            peers: peers.collect(),
        }
    }

    pub(super) fn end_stale_lease(&mut self, instance: InstanceId, lease_until: UnixMillis) {
        let is_stale = |lease: &InstanceLease| lease.until == lease_until;
        if self.instances.get(&instance).is_some_and(is_stale) {
            self.instances.remove(&instance);
        }
    }

    pub(super) fn deregister(&mut self, instance: InstanceId) {
        self.instances.remove(&instance);
        for raid in self.raids.values_mut() {
            if raid.owner == Some(instance) {
                raid.owner = None;
            }
        }
    }

    pub(super) fn reserve_raid_ids(&mut self, count: u32) -> Range<u64> {
        let first = self.raid_ids_reserved + 1;
        self.raid_ids_reserved += u64::from(count);
        first..first + u64::from(count)
    }

    pub(super) fn claim(&mut self, raids: &[RaidId], instance: InstanceId) -> Vec<ClaimOutcome> {
        let mut claims = BTreeMap::new();
        for raid in raids {
            claims
                .entry(*raid)
                .or_insert_with(|| self.claim_one(*raid, instance));
        }
        raids.iter().map(|raid| claims[raid].clone()).collect()
    }

    fn claim_one(&mut self, raid: RaidId, instance: InstanceId) -> ClaimOutcome {
        let now = self.now();
        let Some(raid) = self.raids.get_mut(&raid) else {
            return ClaimOutcome::Missing;
        };
        if let Some(owner) = raid.owner.filter(|owner| *owner != instance) {
            let lease = self.instances.get(&owner);
            if let Some(lease) = lease.filter(|lease| lease.until > now) {
                return ClaimOutcome::Held {
                    owner,
                    ws_url: lease.ws_url.clone(),
                };
            }
            // The former owner learns of the gap even if the clock goes back.
            self.instances.remove(&owner);
        }
        raid.owner = Some(instance);
        raid.epoch.0 += 1;
        ClaimOutcome::Acquired(raid.epoch)
    }

    pub(super) fn force_claim(&mut self, raid: RaidId, by: &InstanceRecord) -> Option<Epoch> {
        self.renew(by, Duration::from_secs(1 << 32));
        let raid = self.raids.get_mut(&raid)?;
        raid.owner = Some(by.id);
        raid.epoch.0 += 1;
        Some(raid.epoch)
    }

    pub(super) fn replace_events(&mut self, raid: RaidId, events: Vec<Event>) -> Vec<Event> {
        let raid = self.raids.get_mut(&raid).expect("a raid");
        raid.row.last_seq = Seq(events.len() as u64);
        std::mem::replace(&mut raid.events, events)
    }

    pub(super) fn release(&mut self, raids: &[(RaidId, Epoch)], instance: InstanceId) {
        for (raid, epoch) in raids {
            if let Some(raid) = self
                .raids
                .get_mut(raid)
                .filter(|raid| raid.is_owned_by(instance, *epoch))
            {
                raid.owner = None;
            }
        }
    }

    pub(super) fn commit(&mut self, batch: &[Append]) -> Result<Vec<CommitOutcome>> {
        batch::validate(batch)?;
        for append in batch {
            self.check_constraints(append)
                .map_err(|source| StoreError::Refused {
                    operation: "commit",
                    source,
                })?;
        }
        Ok(batch.iter().map(|append| self.append(append)).collect())
    }

    /// Refuses what a database would refuse by its types and constraints.
    fn check_constraints(&self, append: &Append) -> anyhow::Result<()> {
        let earned = append
            .events
            .iter()
            .filter_map(|recorded| recorded.event.data.earned());
        let numbers = [
            append.header.current_xp,
            append.header.current_tasks,
            append.last_seq().0,
        ];
        for number in numbers.into_iter().chain(earned.map(|(_, xp)| xp)) {
            i64::try_from(number)?;
        }
        if let Some(code) = effects::rotated_invite_code(append) {
            let raid = self.raid_by_invite(code);
            ensure!(
                raid.is_none_or(|raid| raid == append.raid),
                "invite code repeated"
            );
        }
        let known = self.raids.get(&append.raid);
        if known.is_none_or(|raid| raid.accepts(append)) {
            let mut ops: HashSet<_> = known.iter().flat_map(|raid| raid.ops.values()).collect();
            let mut added = append
                .events
                .iter()
                .filter_map(|recorded| recorded.op.as_ref());
            ensure!(
                added.all(|op| ops.insert(op)),
                "raid {}: op repeated",
                append.raid
            );
        }
        Ok(())
    }

    fn append(&mut self, append: &Append) -> CommitOutcome {
        if let Some(raid) = self
            .raids
            .get(&append.raid)
            .filter(|raid| !raid.accepts(append))
        {
            return CommitOutcome::from_head(append, raid.head());
        }
        if !self.raids.contains_key(&append.raid) {
            let Some(raid) = StoredRaid::from_creation(append) else {
                return CommitOutcome::Fenced;
            };
            let twin = |other: &StoredRaid| {
                other.row.invite_code == raid.row.invite_code
                    || raid.create_key.is_some() && other.create_key == raid.create_key
            };
            if self.raids.values().any(twin) {
                return CommitOutcome::Exists;
            }
            let leader = Leadership::of(append).and_then(Leadership::leader);
            let led = self.raids.values().filter(|raid| raid.leader == leader);
            let max = append.creation.and_then(|terms| terms.led_raids_max);
            if leader.is_some() && max.is_some_and(|max| led.count() >= max as usize) {
                return CommitOutcome::OverQuota;
            }
            self.raids.insert(append.raid, raid);
        }
        let definitions = self.newest_definitions_number();
        let events = append.events.iter().map(|recorded| CommittedEvent {
            raid: append.raid,
            event: recorded.event.clone(),
            definitions,
        });
        self.feed.extend(events);
        self.apply_effects(append);
        if let Some(raid) = self.raids.get_mut(&append.raid) {
            if let Some(leadership) = Leadership::of(append) {
                raid.leader = leadership.leader();
            }
            raid.row.header = append.header;
            raid.row.last_seq = append.last_seq();
            if let Some(code) = effects::rotated_invite_code(append) {
                code.clone_into(&mut raid.row.invite_code);
            }
            raid.events
                .extend(append.events.iter().map(|recorded| recorded.event.clone()));
            let ops = append
                .events
                .iter()
                .filter_map(|recorded| Some((recorded.event.seq, recorded.op?)));
            raid.ops.extend(ops);
        }
        CommitOutcome::Committed
    }

    fn apply_effects(&mut self, append: &Append) {
        let raid = append.raid;
        let joined = effects::joined(append);
        for (player, at) in joined {
            self.ever_joined.insert((player, raid));
            self.members.insert((player, raid), at);
        }
        for (player, is_member) in effects::memberships(append) {
            if !is_member {
                self.members.remove(&(player, raid));
            }
        }
    }

    pub(super) fn head(&self, raid: RaidId) -> Option<RaidHead> {
        self.raids.get(&raid).map(StoredRaid::head)
    }

    pub(super) fn owned_raids(&self, instance: InstanceId) -> Vec<(RaidId, Epoch)> {
        let owned = self
            .raids
            .iter()
            .filter(|(_, raid)| raid.owner == Some(instance));
        owned.map(|(id, raid)| (*id, raid.epoch)).collect()
    }

    pub(super) fn load(&self, raid: RaidId, op_keys: u64) -> Option<LoadedRaid> {
        let head = self.head(raid)?;
        let found = self.raids.get(&raid)?;
        let snapshot = found.snapshot.clone();
        let after = snapshot.as_ref().map_or(Seq::ZERO, |(seq, _)| *seq);
        let ops_from = Seq(head.last_seq.0.saturating_sub(op_keys)).next();
        Some(LoadedRaid {
            created_month: found.created_month,
            head,
            snapshot,
            tail: self.events(raid, after).cloned().collect(),
            ops: found
                .ops
                .range(ops_from..)
                .map(|(seq, op)| (*op, *seq))
                .collect(),
        })
    }

    pub(super) fn events(&self, raid: RaidId, after: Seq) -> impl Iterator<Item = &Event> {
        let events = self.raids.get(&raid).map_or(&[][..], |raid| &raid.events);
        events.iter().skip_while(move |event| event.seq <= after)
    }

    pub(super) fn find_ops(&self, raid: RaidId, ops: &[OpHash]) -> Vec<(OpHash, Seq)> {
        self.raids
            .get(&raid)
            .into_iter()
            .flat_map(|raid| &raid.ops)
            .filter(|(_, op)| ops.contains(op))
            .map(|(seq, op)| (*op, *seq))
            .collect()
    }

    pub(super) fn save_snapshot(
        &mut self,
        raid: RaidId,
        owner: InstanceId,
        epoch: Epoch,
        seq: Seq,
        state: &[u8],
    ) {
        let Some(raid) = self
            .raids
            .get_mut(&raid)
            .filter(|raid| raid.is_owned_by(owner, epoch))
        else {
            return;
        };
        if raid.snapshot.as_ref().is_none_or(|(kept, _)| *kept < seq) {
            raid.snapshot = Some((seq, state.to_vec()));
        }
    }

    pub(super) fn due_raids(
        &self,
        instance: InstanceId,
        after: Option<DueRaid>,
        until: UnixMillis,
        limit: u32,
    ) -> Vec<DueRaid> {
        let now = self.now();
        let lives = |id| {
            id != instance
                && self
                    .instances
                    .get(&id)
                    .is_some_and(|lease| lease.until > now)
        };
        let mut due: Vec<_> = (self.raids.values())
            .filter(|raid| {
                raid.row.header.status == RaidStatus::Active && !raid.owner.is_some_and(lives)
            })
            .filter_map(|raid| {
                Some(DueRaid {
                    deadline: raid.row.header.deadline.filter(|at| *at <= until)?,
                    raid: raid.row.id,
                })
            })
            .filter(|due| after.is_none_or(|after| *due > after))
            .collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        due
    }

    pub(super) fn raid_by_invite(&self, code: &str) -> Option<RaidId> {
        self.raids
            .values()
            .find(|raid| raid.row.invite_code == code)
            .map(|raid| raid.row.id)
    }

    pub(super) fn raid_by_create_key(&self, key: OpHash) -> Option<RaidId> {
        self.raids
            .values()
            .find(|raid| raid.create_key == Some(key))
            .map(|raid| raid.row.id)
    }

    pub(super) fn raids_by_member(
        &self,
        player: PlayerId,
        status: Option<RaidStatus>,
        before: Option<RaidId>,
        limit: u32,
    ) -> Vec<RaidRow> {
        (self.members.keys().rev())
            .filter(|(member, raid)| {
                *member == player && before.is_none_or(|before| *raid < before)
            })
            .filter_map(|(_, raid)| Some(self.raids.get(raid)?.row.clone()))
            .filter(|row| status.is_none_or(|status| row.header.status == status))
            .take(limit as usize)
            .collect()
    }

    pub(super) fn raid_members(&self, raids: &[RaidId], limit: u32) -> Vec<RaidMembers> {
        let members = |raid: RaidId| {
            let members = self.members.iter().filter(|((_, of), _)| *of == raid);
            let mut members: Vec<_> = members.map(|((player, _), at)| (*at, *player)).collect();
            members.sort_unstable();
            let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
            members.truncate(limit as usize);
            let players = members.iter().filter_map(|(_, id)| self.players.get(id));
            let first = players.map(|player| PlayerRef {
                id: player.id,
                name: player.name.clone(),
            });
            RaidMembers {
                raid,
                count,
                first: first.collect(),
            }
        };
        let known = raids.iter().filter(|raid| self.raids.contains_key(raid));
        known.map(|raid| members(*raid)).collect()
    }

    pub(super) fn create_player(&mut self, name: &str) -> Profile {
        let newest = self.players.keys().next_back().map_or(0, |id| id.get());
        let id = PlayerId::try_from(newest + 1).expect("fewer than 2^53 players");
        let created_at = self.now();
        let profile = Profile {
            id,
            name: name.to_owned(),
            xp: 0,
            tasks: 0,
            raids_won: 0,
            created_at,
        };
        self.players.insert(id, profile.clone());
        profile
    }

    pub(super) fn delete_unused_guests(
        &mut self,
        after: Option<PlayerId>,
        limit: u32,
        unused_since: UnixMillis,
        now: UnixMillis,
    ) -> DeletedGuests {
        let ids = self.players.keys().copied();
        let batch: Vec<_> = ids
            .filter(|id| after.is_none_or(|after| *id > after))
            .take(limit as usize)
            .collect();
        let is_unused = |id: &&PlayerId| {
            let accounts = &self.accounts;
            let mut families = self.families.values();
            self.players[*id].created_at < unused_since
                && !accounts.identities.contains_key(id)
                && !accounts.bans.contains_key(id)
                && !accounts.erased.contains_key(id)
                && !self.ever_joined.iter().any(|(player, _)| player == *id)
                && !families.any(|family| {
                    family.player == **id
                        && (family.renewed_at >= unused_since || family.expires_at > now)
                })
        };
        let unused: BTreeSet<_> = batch.iter().filter(is_unused).copied().collect();
        self.players.retain(|id, _| !unused.contains(id));
        self.streams.retain(|id, _| !unused.contains(id));
        for player in &unused {
            self.projection.forget(*player);
            self.boards.forget(*player);
        }
        self.families
            .retain(|_, family| !unused.contains(&family.player));
        DeletedGuests {
            last: batch.last().copied(),
            count: unused.len() as u64,
        }
    }

    pub(super) fn player(&self, player: PlayerId) -> Option<Profile> {
        self.players.get(&player).cloned()
    }

    pub(super) fn account(&self, player: PlayerId, now: UnixMillis) -> Option<Account> {
        let profile = self.players.get(&player)?.clone();
        let families = self.families.values();
        let living = families.filter(|family| family.player == player && family.expires_at > now);
        let mut sign_ins: Vec<_> = living
            .map(|family| SignIn {
                renewed_at: family.renewed_at,
                expires_at: family.expires_at,
            })
            .take(SIGN_INS_MAX as usize)
            .collect();
        sign_ins.sort_unstable();
        let external_id = self.accounts.identities.get(&player).cloned();
        Some(Account {
            profile,
            external_id,
            sign_ins,
        })
    }

    pub(super) fn raids_ever_joined(
        &self,
        player: PlayerId,
        after: Option<RaidId>,
        limit: u32,
    ) -> Vec<RaidId> {
        let later = |raid: &RaidId| after.is_none_or(|after| *raid > after);
        let visits = self
            .ever_joined
            .iter()
            .filter(|(of, _)| *of == player)
            .map(|(_, raid)| *raid);
        visits.filter(later).take(limit as usize).collect()
    }

    pub(super) fn filter_ever_joined(
        &self,
        pairs: &[(RaidId, PlayerId)],
    ) -> Vec<(RaidId, PlayerId)> {
        let joined =
            |(raid, player): &&(RaidId, PlayerId)| self.ever_joined.contains(&(*player, *raid));
        pairs.iter().filter(joined).copied().collect()
    }

    pub(super) fn create_token_family(
        &mut self,
        family: FamilyId,
        player: PlayerId,
        token: TokenHash,
        now: UnixMillis,
        ttl: Duration,
    ) {
        let expires_at = add_duration(now, ttl);
        let made = TokenFamily {
            player,
            current: token,
            previous: None,
            renewed_at: now,
            expires_at,
        };
        self.families.insert(family, made);
    }

    pub(super) fn rotate_refresh_token(
        &mut self,
        presentation: RotationRequest,
    ) -> RotationOutcome {
        let RotationRequest {
            family,
            presented,
            replacement: successor,
            now,
            ttl,
        } = presentation;
        let Some(found) = self
            .families
            .get_mut(&family)
            .filter(|family| family.expires_at > now)
        else {
            return RotationOutcome::Unknown;
        };
        let Some(player) = self.players.get(&found.player) else {
            return RotationOutcome::Unknown;
        };
        let player = PlayerRef {
            id: player.id,
            name: player.name.clone(),
        };
        match found.previous {
            _ if found.current == presented => {
                found.previous = Some(presented);
                found.current = successor;
                found.renewed_at = now;
                found.expires_at = add_duration(now, ttl);
                RotationOutcome::Rotated {
                    player,
                    current: successor,
                }
            }
            Some(previous) if previous == presented => {
                found.expires_at = add_duration(now, ttl);
                RotationOutcome::Rotated {
                    player,
                    current: found.current,
                }
            }
            _ => {
                self.families.remove(&family);
                RotationOutcome::Reused
            }
        }
    }
}

impl StoredRaid {
    /// Creates the raid of a creating append, before its events are added; `None` if the append
    /// continues a raid.
    fn from_creation(append: &Append) -> Option<StoredRaid> {
        let creation = RaidCreation::of(append)?;
        Some(StoredRaid {
            row: RaidRow {
                id: append.raid,
                title: creation.title.to_owned(),
                invite_code: creation.invite_code.to_owned(),
                target_xp: creation.target_xp,
                target_tasks: creation.target_tasks,
                time_limit_secs: creation.time_limit_secs,
                created_at: creation.created_at,
                header: append.header,
                last_seq: Seq::ZERO,
            },
            created_month: append.created_month,
            create_key: append.creation.map(|terms| terms.key),
            leader: None,
            owner: Some(append.owner),
            epoch: append.epoch,
            events: Vec::new(),
            ops: BTreeMap::new(),
            snapshot: None,
        })
    }

    fn is_owned_by(&self, owner: InstanceId, epoch: Epoch) -> bool {
        self.owner == Some(owner) && self.epoch == epoch
    }

    fn head(&self) -> RaidHead {
        RaidHead {
            owner: self.owner,
            epoch: self.epoch,
            last_seq: self.row.last_seq,
        }
    }

    /// Returns whether the append passes the fence and continues the raid's history.
    fn accepts(&self, append: &Append) -> bool {
        self.is_owned_by(append.owner, append.epoch)
            && self.row.last_seq.next() == append.first_seq()
    }
}

/// Returns the contribution that an event records, if it records one.
pub(super) fn contribution(event: &Event) -> Option<Contribution> {
    let (player, xp) = event.data.earned()?;
    let (kind, task, note) = match &event.data {
        EventData::TaskCompleted { task, .. } => ("task_complete", Some(*task), None),
        EventData::Contributed { kind, note, .. } => (kind.as_str(), None, note.clone()),
        _ => return None,
    };
    Some(Contribution {
        seq: event.seq,
        at: event.at,
        player,
        xp,
        kind: kind.to_owned(),
        task,
        note,
    })
}

pub(super) fn add_duration(moment: UnixMillis, time: Duration) -> UnixMillis {
    moment.plus(i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2))
}
