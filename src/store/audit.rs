//! The audit log: what operators and the host app's backend did.

use async_trait::async_trait;
use raidhall_protocol::{Command, RaidId, UnixMillis};
use serde_json::{Value, json};

use super::Result;

/// An entry for the audit log: an action of an operator or of the host app's backend.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAuditEntry {
    /// When the action took place.
    pub at: UnixMillis,
    /// Subject of the token that authorized the action.
    pub actor: String,
    /// Kind of action, such as `ban`.
    pub action: &'static str,
    /// What the action applies to, such as `player 5`.
    pub target: String,
    pub request_id: String,
    /// The action's arguments as JSON.
    pub details: Value,
}

impl NewAuditEntry {
    /// Creates the entry for a backend's command to a raid. It omits texts: audit entries are kept
    /// for good, while a player's texts in the ledger can be erased.
    pub fn from_command(
        at: UnixMillis,
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
            Command::AddTask { xp, .. } => json!({ "type": command.kind(), "xp": xp }),
            Command::RemoveTask { task } => json!({ "type": command.kind(), "task": task }),
            other => json!({ "type": other.kind() }),
        };

        NewAuditEntry {
            at,
            actor: actor.to_owned(),
            action: "command",
            target: format!("raid {raid}"),
            request_id: request_id.to_owned(),
            details,
        }
    }
}

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Number of the entry; a later entry has a larger number.
    pub id: u64,
    /// When the action took place.
    pub at: UnixMillis,
    /// Subject of the token that authorized the action.
    pub actor: String,
    /// Kind of action, such as `ban`.
    pub action: String,
    /// What the action applied to, such as `player 5`.
    pub target: String,
    pub request_id: String,
    /// The action's arguments as JSON.
    pub details: Value,
}

/// The audit log of the store.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Adds an entry to the audit log, which is never deleted.
    async fn record_audit(&self, entry: &NewAuditEntry) -> Result<()>;

    /// Returns entries with an id above `after`, oldest first, at most `limit`.
    async fn audit_entries(&self, after: u64, limit: u32) -> Result<Vec<AuditRow>>;
}
