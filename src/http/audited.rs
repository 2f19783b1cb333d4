//! Whoever acts with more than a player's rights is held to account: what they do is in the audit log, before it takes
//! effect or together with it.

use axum::extract::{Extension, FromRef, FromRequestParts};
use axum::http::request::Parts;
use raidhall_protocol::{Command, RaidId};
use serde_json::Value;

use super::authentication::{Authenticated, Authenticator};
use super::error_response::ErrorResponse;
use super::request_id::RequestId;
use crate::auth::Scope;
use crate::error::Error;
use crate::store::{NewAuditEntry, Store};

/// A signed caller whose deeds go on record: ask for it where [`Authenticated`] would do, and record before acting.
pub(super) struct Audited {
    pub(super) authenticated: Authenticated,
    request_id: RequestId,
}

/// An operator: a caller with the `admin` scope.
pub(super) struct Operator(pub(super) Audited);

impl Audited {
    /// What the caller is about to do, for a store's call that records it in the same transaction.
    pub(super) fn audit_entry(
        &self,
        action: &'static str,
        target: String,
        details: Value,
    ) -> NewAuditEntry {
        let (actor, request_id) = (
            self.authenticated.0.subject.clone(),
            self.request_id.as_str().to_owned(),
        );
        NewAuditEntry {
            actor,
            action,
            target,
            request_id,
            details,
        }
    }

    /// The same of a command to a raid.
    pub(super) fn command_audit_entry(&self, raid: RaidId, command: &Command) -> NewAuditEntry {
        NewAuditEntry::from_command(
            &self.authenticated.0.subject,
            self.request_id.as_str(),
            raid,
            command,
        )
    }

    /// Records what the caller is about to do. Without a record it must not be done: pass the failure on.
    pub(super) async fn record(
        &self,
        store: &dyn Store,
        action: &'static str,
        target: String,
        details: Value,
    ) -> Result<(), ErrorResponse> {
        Ok(store
            .record_audit(&self.audit_entry(action, target, details))
            .await?)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Audited
where
    Authenticator: FromRef<S>,
{
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Audited, ErrorResponse> {
        let signed = Authenticated::from_request_parts(parts, state).await?;
        let request = Extension::<RequestId>::from_request_parts(parts, state).await;
        let Extension(request) = request.map_err(|_| Error::Internal)?;
        Ok(Audited {
            authenticated: signed,
            request_id: request,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator
where
    Authenticator: FromRef<S>,
{
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Operator, ErrorResponse> {
        let accountable = Audited::from_request_parts(parts, state).await?;
        match accountable.authenticated.0.scope {
            Scope::Admin => Ok(Operator(accountable)),
            Scope::Player | Scope::Service => {
                Err(Error::Forbidden("Only operators may do this").into())
            }
        }
    }
}
