//! Verification of a raid in a backup by folding its events: what the ledger can prove is not taken
//! on trust.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use raidhall_protocol::event::EVENT_VERSION;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};
use serde_json::json;

use super::event_checks::{check_data, check_stored_form};
use super::format::{hex, unhex};
use crate::raid::{self, State, stored};
use crate::store::backup::{EventLine, EventWithEarnings, RaidLine, SnapshotLine};

/// Fold of one raid's events, as far as they have been read.
pub(super) struct RaidVerifier {
    pub(super) row: RaidLine,
    id: RaidId,
    state: State,
    snapshot: Option<SnapshotLine>,
    /// All present and former members.
    ever_members: BTreeSet<PlayerId>,
}

/// Result of a completed fold.
pub(super) struct VerifiedRaid {
    pub(super) id: RaidId,
    /// The members, and when each joined.
    pub(super) members: Vec<(PlayerId, UnixMillis)>,
    pub(super) former: Vec<PlayerId>,
    /// The leader of a raid that has not ended.
    pub(super) leader: Option<PlayerId>,
}

impl RaidVerifier {
    pub(super) fn new(row: RaidLine) -> Result<RaidVerifier, String> {
        let id = RaidId::try_from(row.id).map_err(|error| format!("id: {error}"))?;
        Ok(RaidVerifier {
            row,
            id,
            state: State::new(id),
            snapshot: None,
            ever_members: BTreeSet::new(),
        })
    }

    /// Keeps the raid's snapshot, to be compared when its seq has been reached.
    pub(super) fn expect_snapshot(&mut self, snapshot: SnapshotLine) -> Result<(), String> {
        if snapshot.raid != self.row.id || self.state.seq() != Seq::ZERO || self.snapshot.is_some()
        {
            return Err("a snapshot is out of its place".into());
        }
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// Applies the next event. Returns the snapshot at its seq, in the present stored form, if it
    /// equals the folded state; one that differs is dropped, as a load would ignore it.
    pub(super) fn apply_event(&mut self, line: &EventLine) -> Result<Option<SnapshotLine>, String> {
        if line.raid != self.row.id {
            return Err(format!("an event of raid {}", line.raid));
        }
        let event = decode_event(line)?;
        let found = event.seq;
        let next = self.state.seq().next();
        if found != next {
            return Err(format!(
                "the ledger goes on with event {found} instead of {next}"
            ));
        }
        check_stored_form(&line.data, event.data.kind(), &json!(event.data))
            .and_then(|()| check_data(&event, &self.state))
            .map_err(|why| format!("event {found}: {why}"))?;
        let apply = AssertUnwindSafe(|| raid::apply(&mut self.state, &event));
        catch_unwind(apply).map_err(|_| format!("event {found} contradicts those before it"))?;
        if let EventData::MemberJoined { player, .. } = event.data {
            self.ever_members.insert(player);
        }
        let due = self
            .snapshot
            .take_if(|snapshot| u64::try_from(snapshot.seq) == Ok(found.0));
        Ok(due
            .filter(|snapshot| self.is_folded_state(snapshot))
            .map(|snapshot| SnapshotLine {
                state: hex(&stored::encode(&self.state)),
                ..snapshot
            }))
    }

    fn is_folded_state(&self, snapshot: &SnapshotLine) -> bool {
        unhex(&snapshot.state)
            .and_then(|bytes| stored::decode(&bytes).ok())
            .is_some_and(|decoded| self.state.equals_snapshot(&decoded))
    }

    /// Compares the row with the folded state.
    pub(super) fn finish(&self) -> Result<VerifiedRaid, String> {
        let row = &self.row;
        let shown = self.state.shown();
        let moment = |at: Option<UnixMillis>| at.map(|at| at.0);
        let columns = [
            ("last_seq", json!(row.last_seq), json!(self.state.seq())),
            ("title", json!(row.title), json!(shown.title)),
            (
                "invite_code",
                json!(row.invite_code),
                json!(shown.invite_code),
            ),
            ("target_xp", json!(row.target_xp), json!(shown.target_xp)),
            (
                "target_tasks",
                json!(row.target_tasks),
                json!(shown.target_tasks),
            ),
            (
                "time_limit_secs",
                json!(row.time_limit_secs),
                json!(shown.time_limit_secs),
            ),
            ("created_at", json!(row.created_at), json!(shown.created_at)),
            ("status", json!(row.status), json!(shown.status)),
            (
                "deadline",
                json!(row.deadline),
                json!(moment(self.state.active_deadline())),
            ),
            ("current_xp", json!(row.current_xp), json!(shown.current_xp)),
            (
                "current_tasks",
                json!(row.current_tasks),
                json!(shown.current_tasks),
            ),
            (
                "ended_at",
                json!(row.ended_at),
                json!(moment(shown.ended_at)),
            ),
        ];
        if let Some((column, row, ledger)) = columns.iter().find(|(_, row, ledger)| row != ledger) {
            return Err(format!("{column} is {row}, and by the ledger {ledger}"));
        }
        let members = shown.members.iter();
        let members: Vec<_> = members
            .map(|member| (member.player, member.joined_at))
            .collect();
        let former = self
            .ever_members
            .iter()
            .filter(|player| !self.state.is_member(**player))
            .copied()
            .collect();
        Ok(VerifiedRaid {
            id: self.id,
            members,
            former,
            leader: shown.leader.filter(|_| !shown.status.ended()),
        })
    }
}

fn decode_event(line: &EventLine) -> Result<Event, String> {
    let place = |error: &dyn std::fmt::Display| format!("event {}: {error}", line.seq);
    if line.version > i32::from(EVENT_VERSION) {
        return Err(place(&format!(
            "version {} is newer than this release",
            line.version
        )));
    }
    let data: EventData = serde_json::from_value(json!({ "type": line.kind, "data": line.data }))
        .map_err(|error| place(&error))?;
    Ok(Event {
        seq: Seq(u64::try_from(line.seq).map_err(|error| place(&error))?),
        at: UnixMillis(line.at),
        by: line
            .by
            .map(PlayerId::try_from)
            .transpose()
            .map_err(|error| place(&error))?,
        data,
    })
}

/// Adds to events the columns that derive from their data. The events have been folded, so all of
/// them decode.
pub(super) fn with_earnings(events: &[EventLine]) -> Vec<EventWithEarnings<'_>> {
    let row = |event| {
        let (player, xp) = decode_event(event)
            .ok()
            .and_then(|event| event.data.earned())
            .unzip();
        EventWithEarnings { event, player, xp }
    };
    events.iter().map(row).collect()
}
