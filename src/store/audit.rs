//! The audit log: what operators and the host app's backend did.

use async_trait::async_trait;
use raidhall_protocol::{Command, RaidId, UnixMillis};
use serde_json::{Value, json};

use super::Result;

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

/// The part of the store that keeps the audit log.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Writes a deed into the audit log, from which nothing is ever taken.
    async fn record_audit(&self, deed: &NewAuditEntry) -> Result<()>;

    /// Deeds with an id over `after`, oldest first, at most `limit`.
    async fn audit_entries(&self, after: u64, limit: u32) -> Result<Vec<AuditRow>>;
}
