//! The commit: several raids' events in one autocommitted statement, each raid fenced by itself.

use std::collections::HashMap;

use anyhow::Context;
use raidhall_protocol::RaidId;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::columns::{bigint, event_data_json, raid};
use super::connections::{ConnectionPool, Statement};
use super::fault;
use super::ownership::raid_head;
use crate::store::effects::{self, Leadership, RaidCreation};
use crate::store::{Append, CommitOutcome, LedgerEvent, RaidHead, Result, batch};

/// All parts see the database as it was when the statement began; only row locks see newer
/// versions. Hence:
///
/// - A raid is either created (with its final row) or advanced, never both.
/// - Only raids that `written` names get events.
/// - A fence that waited for another commit of the same raid is checked on the row as that commit
///   left it, but the `head` that is returned is the old one. It can look as if the fence should
///   have passed: the outcome is then [`CommitOutcome::Unclear`].
///
/// - Each raid that a player creates under a limit takes a free slot of that player, until it ends
///   or another player leads it. The n-th creation of a leader in the batch takes the n-th free
///   slot. Two concurrent statements can choose the same slots, and only one gets them; the
///   creations of the other are [`CommitOutcome::Unclear`], and the raids are counted anew when
///   they are sent again. So no number of creations exceeds the limit.
///
/// Deadlocks are avoided by locking raids in the order of ids (the arrays are sorted). A creation waits for a concurrent one with the same slot or
/// create key. So creations that need a slot are inserted in the order of leaders and slots, and
/// the others after them in the order of create keys.
///
/// Large tables are read by `= ANY` or by a lateral subquery with a limit, which leave the planner
/// no choice but an index, whatever it estimates their size to be.
pub(super) const COMMIT: &str = "
    WITH batch AS MATERIALIZED (
        SELECT * FROM unnest(
            $1::bigint[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::integer[], $12::text[], $13::text[], $14::bytea[],
            $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $33::bigint[], $34::integer[]
        ) AS b (raid, owner, epoch, first, last, status, deadline, current_xp, current_tasks, ended_at,
                born, title, invite_code, create_key, target_xp, target_tasks, time_limit_secs, created_at, leader, led_max)
    ), numbered AS MATERIALIZED (
        SELECT b.raid, b.leader, b.led_max, row_number() OVER (PARTITION BY b.leader ORDER BY b.raid) AS number
        FROM batch b
        LEFT JOIN LATERAL (SELECT true AS found FROM raids r WHERE r.id = b.raid LIMIT 1) existing ON true
        WHERE b.title IS NOT NULL AND b.led_max IS NOT NULL AND existing.found IS NULL
    ), slots AS MATERIALIZED (
        SELECT n.raid, n.leader AS player, (
            SELECT free.slot FROM generate_series(1, least(n.led_max, l.led + n.number)::integer) AS free (slot)
            WHERE NOT EXISTS (SELECT FROM raids r WHERE r.leader = n.leader AND r.leader_slot = free.slot)
            ORDER BY free.slot OFFSET n.number - 1 LIMIT 1
        ) AS slot
        FROM numbered n CROSS JOIN LATERAL (
            SELECT count(*) AS led FROM (SELECT FROM raids r WHERE r.leader = n.leader LIMIT n.led_max) AS open
        ) l
        WHERE l.led + n.number <= n.led_max
    ), created AS (
        INSERT INTO raids (id, born, title, invite_code, create_key, target_xp, target_tasks, time_limit_secs,
            created_at, status, deadline, current_xp, current_tasks, ended_at, owner, epoch, last_seq, leader,
            leader_slot)
        SELECT raid, born, title, invite_code, create_key, target_xp, target_tasks, time_limit_secs,
            created_at, status, deadline, current_xp, current_tasks, ended_at, owner, epoch, last, nullif(leader, 0),
            slot
        FROM batch LEFT JOIN slots USING (raid)
        WHERE title IS NOT NULL AND (led_max IS NULL OR slot IS NOT NULL)
        ORDER BY player, slot, create_key, raid
        ON CONFLICT DO NOTHING
        RETURNING id, born, invite_code, create_key
    ), moved AS (
        UPDATE raids r
        SET last_seq = b.last, status = b.status, deadline = b.deadline, current_xp = b.current_xp,
            current_tasks = b.current_tasks, ended_at = b.ended_at,
            invite_code = coalesce(b.invite_code, r.invite_code),
            leader = CASE WHEN b.leader IS NULL THEN r.leader ELSE nullif(b.leader, 0) END,
            leader_slot = CASE WHEN b.leader IS NULL THEN r.leader_slot END
        FROM batch b
        WHERE r.id = b.raid AND b.title IS NULL
            AND r.owner = b.owner AND r.epoch = b.epoch AND r.last_seq = b.first - 1
        RETURNING r.id, r.born
    ), written AS MATERIALIZED (
        SELECT id, born FROM created UNION ALL SELECT id, born FROM moved
    ), recorded AS (
        INSERT INTO raid_events (born, raid_id, seq, at, by, player, xp, version, kind, op_key, data, definitions)
        SELECT w.born, e.raid, e.seq, e.at, e.by, e.player, e.xp, e.version, e.kind, e.op_key, e.data::jsonb,
            (SELECT max(number) FROM progression_definitions)
        FROM unnest($20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[],
                    $26::text[], $27::bytea[], $28::text[], $19::smallint[])
            AS e (raid, seq, at, by, player, xp, kind, op_key, data, version)
        JOIN written w ON w.id = e.raid
    ), enrolled AS (
        INSERT INTO raid_members (player, raid_id, member, joined_at)
        SELECT m.player, m.raid, m.member, m.joined_at
        FROM unnest($29::bigint[], $30::bigint[], $31::boolean[], $32::bigint[]) AS m (raid, player, member, joined_at)
        JOIN written w ON w.id = m.raid
        ON CONFLICT (player, raid_id) DO UPDATE SET member = excluded.member, joined_at = excluded.joined_at
    )
    SELECT b.raid, w.id IS NOT NULL AS written, h.owner, h.epoch, h.last_seq,
        CASE WHEN w.id IS NULL AND h.epoch IS NULL AND b.title IS NOT NULL THEN coalesce(
            (SELECT t.id FROM raids t WHERE t.invite_code = b.invite_code),
            (SELECT t.id FROM raids t WHERE t.create_key = b.create_key),
            (SELECT t.id FROM created t WHERE t.invite_code = b.invite_code),
            (SELECT t.id FROM created t WHERE t.create_key = b.create_key)
        ) IS NOT NULL END AS taken,
        b.led_max IS NOT NULL AND NOT EXISTS (SELECT FROM slots s WHERE s.raid = b.raid) AS over_quota
    FROM batch b
    LEFT JOIN written w ON w.id = b.raid
    LEFT JOIN LATERAL (
        SELECT r.owner, r.epoch, r.last_seq FROM raids r WHERE r.id = b.raid AND w.id IS NULL LIMIT 1
    ) h ON true";

pub(super) async fn commit(
    connections: &ConnectionPool,
    batch: &[Append],
) -> Result<Vec<CommitOutcome>> {
    const OPERATION: &str = "commit";
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    batch::validate(batch)?;
    let statement = build_statement(batch).map_err(|error| fault::refused(OPERATION, error))?;
    let seen: HashMap<_, _> = connections
        .fetch_all(OPERATION, statement, write_status)
        .await?
        .into_iter()
        .collect();
    Ok(batch
        .iter()
        .map(|append| {
            seen.get(&append.raid)
                .map_or(CommitOutcome::Unclear, |seen| seen.outcome(append))
        })
        .collect())
}

/// What the statement returns about one raid.
enum WriteStatus {
    Written,
    /// Not written; the raid's head before the statement.
    NotWritten(RaidHead),
    /// Not created: another raid has the invite code or the create key.
    Taken,
    /// Not created: the leader leads too many open raids.
    OverQuota,
    /// Not written, and the raid did not exist before. If the append creates it, a concurrent
    /// statement may have created it.
    NotFound,
}

impl WriteStatus {
    fn outcome(&self, append: &Append) -> CommitOutcome {
        match self {
            WriteStatus::Written => CommitOutcome::Committed,
            WriteStatus::Taken => CommitOutcome::Exists,
            WriteStatus::OverQuota => CommitOutcome::OverQuota,
            WriteStatus::NotFound if RaidCreation::of(append).is_some() => CommitOutcome::Unclear,
            WriteStatus::NotFound => CommitOutcome::Fenced,
            WriteStatus::NotWritten(head) => CommitOutcome::from_head(append, *head),
        }
    }
}

fn write_status(row: &PgRow) -> sqlx::Result<(RaidId, WriteStatus)> {
    let seen = if row.try_get("written")? {
        WriteStatus::Written
    } else if row.try_get::<Option<i64>, _>("epoch")?.is_some() {
        WriteStatus::NotWritten(raid_head(row)?)
    } else if row.try_get::<Option<bool>, _>("taken")? == Some(true) {
        WriteStatus::Taken
    } else if row.try_get("over_quota")? {
        WriteStatus::OverQuota
    } else {
        WriteStatus::NotFound
    };
    Ok((raid(row, "raid")?, seen))
}

/// The statement's arguments, one array per column.
#[derive(Default)]
struct CommitColumns {
    raids: RaidColumns,
    events: EventColumns,
    members: MemberColumns,
}

#[derive(Default)]
struct RaidColumns {
    raid: Vec<i64>,
    owner: Vec<Uuid>,
    epoch: Vec<i64>,
    first: Vec<i64>,
    last: Vec<i64>,
    status: Vec<&'static str>,
    deadline: Vec<Option<i64>>,
    current_xp: Vec<i64>,
    current_tasks: Vec<i64>,
    ended_at: Vec<Option<i64>>,
    born: Vec<i32>,
    title: Vec<Option<String>>,
    invite_code: Vec<Option<String>>,
    create_key: Vec<Option<Vec<u8>>>,
    target_xp: Vec<Option<i64>>,
    target_tasks: Vec<Option<i64>>,
    time_limit_secs: Vec<Option<i64>>,
    created_at: Vec<Option<i64>>,
    leader: Vec<Option<i64>>,
    led_max: Vec<Option<i32>>,
}

#[derive(Default)]
struct EventColumns {
    raid: Vec<i64>,
    seq: Vec<i64>,
    at: Vec<i64>,
    by: Vec<Option<i64>>,
    player: Vec<Option<i64>>,
    xp: Vec<Option<i64>>,
    version: Vec<i16>,
    kind: Vec<&'static str>,
    op_key: Vec<Option<Vec<u8>>>,
    data: Vec<String>,
}

#[derive(Default)]
struct MemberColumns {
    raid: Vec<i64>,
    player: Vec<i64>,
    member: Vec<bool>,
    /// When the player joined last; 0 if they only left.
    joined_at: Vec<i64>,
}

fn build_statement(batch: &[Append]) -> anyhow::Result<Statement> {
    let mut appends: Vec<_> = batch.iter().collect();
    appends.sort_unstable_by_key(|append| append.raid);
    let mut columns = CommitColumns::default();
    for append in &appends {
        columns
            .add(append)
            .with_context(|| format!("raid {}", append.raid))?;
    }
    Ok(columns.bind())
}

impl CommitColumns {
    fn add(&mut self, append: &Append) -> anyhow::Result<()> {
        self.raids.add(append)?;
        let raid = i64::from(append.raid);
        for recorded in &append.events {
            self.events.add(raid, recorded)?;
        }
        let joined = effects::joined(append);
        for (player, is_member) in effects::memberships(append) {
            self.members.raid.push(raid);
            self.members.player.push(i64::from(player));
            self.members.member.push(is_member);
            let joined_at = joined.get(&player).map_or(0, |at| at.0);
            self.members.joined_at.push(joined_at);
        }
        Ok(())
    }

    fn bind(self) -> Statement {
        let CommitColumns {
            raids: r,
            events: e,
            members: m,
        } = self;
        sqlx::query(COMMIT)
            .bind(r.raid)
            .bind(r.owner)
            .bind(r.epoch)
            .bind(r.first)
            .bind(r.last)
            .bind(r.status)
            .bind(r.deadline)
            .bind(r.current_xp)
            .bind(r.current_tasks)
            .bind(r.ended_at)
            .bind(r.born)
            .bind(r.title)
            .bind(r.invite_code)
            .bind(r.create_key)
            .bind(r.target_xp)
            .bind(r.target_tasks)
            .bind(r.time_limit_secs)
            .bind(r.created_at)
            .bind(e.version)
            .bind(e.raid)
            .bind(e.seq)
            .bind(e.at)
            .bind(e.by)
            .bind(e.player)
            .bind(e.xp)
            .bind(e.kind)
            .bind(e.op_key)
            .bind(e.data)
            .bind(m.raid)
            .bind(m.player)
            .bind(m.member)
            .bind(m.joined_at)
            .bind(r.leader)
            .bind(r.led_max)
    }
}

impl RaidColumns {
    fn add(&mut self, append: &Append) -> anyhow::Result<()> {
        let header = &append.header;
        self.raid.push(append.raid.into());
        self.owner.push(append.owner.0);
        self.epoch.push(bigint(append.epoch.0)?);
        self.first.push(bigint(append.first_seq().0)?);
        self.last.push(bigint(append.last_seq().0)?);
        self.status.push(header.status.as_str());
        self.deadline
            .push(header.deadline.map(|deadline| deadline.0));
        self.current_xp.push(bigint(header.current_xp)?);
        self.current_tasks.push(bigint(header.current_tasks)?);
        self.ended_at
            .push(header.ended_at.map(|ended_at| ended_at.0));
        self.born.push(append.created_month.0);
        let creation = RaidCreation::of(append);
        let creation = creation.as_ref();
        self.title.push(creation.map(|made| made.title.to_owned()));
        self.invite_code.push(
            creation
                .map(|made| made.invite_code)
                .or_else(|| effects::rotated_invite_code(append))
                .map(str::to_owned),
        );
        self.create_key
            .push(append.creation.map(|terms| terms.key.0.to_vec()));
        self.target_xp
            .push(creation.map(|made| bigint(made.target_xp)).transpose()?);
        self.target_tasks
            .push(creation.map(|made| bigint(made.target_tasks)).transpose()?);
        self.time_limit_secs.push(
            creation
                .map(|made| bigint(made.time_limit_secs))
                .transpose()?,
        );
        self.created_at.push(creation.map(|made| made.created_at.0));
        let leadership = Leadership::of(append);
        self.leader.push(leadership.map(Leadership::argument));
        // A raid that has ended in the append already needs no slot.
        let led_max = append
            .creation
            .and_then(|terms| terms.led_raids_max)
            .filter(|_| leadership != Some(Leadership::Ended));
        self.led_max.push(led_max.map(i32::try_from).transpose()?);
        Ok(())
    }
}

impl EventColumns {
    fn add(&mut self, raid: i64, LedgerEvent { event, op }: &LedgerEvent) -> anyhow::Result<()> {
        let earned = event.data.earned();
        self.raid.push(raid);
        self.seq.push(bigint(event.seq.0)?);
        self.at.push(event.at.0);
        self.by.push(event.by.map(i64::from));
        self.player
            .push(earned.map(|(player, _)| i64::from(player)));
        self.xp.push(earned.map(|(_, xp)| bigint(xp)).transpose()?);
        self.version.push(event.data.version().cast_signed());
        self.kind.push(event.data.kind());
        self.op_key.push(op.map(|op| op.0.to_vec()));
        self.data.push(event_data_json(&event.data)?);
        Ok(())
    }
}
