//! What operators see and leave behind: the audit log, and looking up who and what there is.

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::{Command, PlayerId, RaidId, UnixMillis};
use serde_json::{Value, json};

use super::{InstanceId, RaidRow, Result};

/// Something that an operator or the host app's backend does.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAuditEntry {
    /// The subject of the token.
    pub actor: String,
    /// What is done.
    pub action: &'static str,
    /// To whom or what, such as `player 5`.
    pub target: String,
    /// The request's id.
    pub request_id: String,
    /// With which values.
    pub details: Value,
}

impl NewAuditEntry {
    /// A backend's command to a raid. Without texts: the record is for good, and in the ledger they can be taken back.
    pub fn from_command(
        actor: &str,
        request_id: &str,
        raid: RaidId,
        command: &Command,
    ) -> NewAuditEntry {
        let details = match command {
            Command::Contribute {
                player, xp, kind, ..
            } => {
                json!({ "type": command.kind(), "player": player, "xp": xp, "kind": kind })
            }
            other => json!({ "type": other.kind() }),
        };
        let (actor, request_id) = (actor.to_owned(), request_id.to_owned());
        NewAuditEntry {
            actor,
            action: "command",
            target: format!("raid {raid}"),
            request_id,
            details,
        }
    }
}

/// A deed in the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Grows with each.
    pub id: u64,
    /// When, by the database's clock.
    pub at: UnixMillis,
    /// The subject of the token.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To whom or what.
    pub target: String,
    /// The request's id.
    pub request_id: String,
    /// With which values.
    pub details: Value,
}

/// What is known of the players who are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayerLookup {
    /// The id.
    Id(PlayerId),
    /// The id in the host app.
    ExternalId(String),
    /// How the name begins, in either case.
    Name(String),
}

/// A player as operators see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerRow {
    /// Name and totals.
    pub profile: Profile,
    /// The id in the host app.
    pub external_id: Option<String>,
    /// Why they are banned, if they are.
    pub ban: Option<String>,
}

/// What is known of the raids that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RaidLookup {
    /// The id.
    Id(RaidId),
    /// How the title begins, in either case.
    Title(String),
}

/// An instance whose lease lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// Its name.
    pub id: InstanceId,
    /// Where clients reach its socket door.
    pub ws_url: String,
    /// The release it runs.
    pub release: String,
    /// Whether it is about to leave.
    pub draining: bool,
    /// When its lease runs out unless it is renewed.
    pub lease_until: UnixMillis,
}

/// The part of the store that operators use.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Writes a deed into the audit log, from which nothing is ever taken.
    async fn record_audit(&self, deed: &NewAuditEntry) -> Result<()>;

    /// Deeds with an id over `after`, oldest first, at most `limit`.
    async fn audit_entries(&self, after: u64, limit: u32) -> Result<Vec<AuditRow>>;

    /// Players who fit, by name and id, at most `limit`.
    async fn find_players(&self, lookup: &PlayerLookup, limit: u32) -> Result<Vec<PlayerRow>>;

    /// Raids that fit, by title and id, at most `limit`.
    async fn find_raids(&self, lookup: &RaidLookup, limit: u32) -> Result<Vec<RaidRow>>;

    /// Every instance whose lease lives, by id.
    async fn instances(&self) -> Result<Vec<InstanceRow>>;
}
