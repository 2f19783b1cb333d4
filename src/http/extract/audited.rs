//! Callers with more than a player's rights. Their actions are recorded in the audit log, before or
//! with their effect.

use std::sync::Arc;

use axum::extract::{Extension, FromRequestParts};
use axum::http::request::Parts;
use raidhall_protocol::{Command, RaidId, UnixMillis};
use serde_json::Value;

use super::authenticated::Authenticated;
use crate::auth::Scope;
use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::ErrorResponse;
use crate::http::request_id::RequestId;
use crate::store::{NewAuditEntry, Store};

/// An authenticated caller, the request's id and its time, for the audit log. A handler takes it
/// instead of [`Authenticated`], and records its action before it acts.
pub(in crate::http) struct Audited {
    pub(in crate::http) authenticated: Authenticated,
    request_id: RequestId,
    at: UnixMillis,
}

/// An operator: a caller with the `admin` scope.
pub(in crate::http) struct Operator(pub(in crate::http) Audited);

/// The host app's backend: a caller with the `service` scope.
pub(in crate::http) struct HostAppBackend(pub(in crate::http) Audited);

impl Audited {
    /// Returns the audit entry of an action, for a store method that writes it in the action's own
    /// transaction.
    pub(in crate::http) fn audit_entry(
        &self,
        action: &'static str,
        target: String,
        details: Value,
    ) -> NewAuditEntry {
        NewAuditEntry {
            at: self.at,
            actor: self.authenticated.0.subject.clone(),
            action,
            target,
            request_id: self.request_id.as_str().to_owned(),
            details,
        }
    }

    /// Returns the audit entry of a command to a raid.
    pub(in crate::http) fn command_audit_entry(
        &self,
        raid: RaidId,
        command: &Command,
    ) -> NewAuditEntry {
        NewAuditEntry::from_command(
            self.at,
            &self.authenticated.0.subject,
            self.request_id.as_str(),
            raid,
            command,
        )
    }

    /// Writes the audit entry of an action that is about to happen. If this fails, the action must
    /// not happen: return the error.
    pub(in crate::http) async fn record(
        &self,
        store: &dyn Store,
        action: &'static str,
        target: String,
        details: Value,
    ) -> Result<(), ErrorResponse> {
        let entry = self.audit_entry(action, target, details);
        Ok(store.record_audit(&entry).await?)
    }

    /// Returns the caller if its token has the scope; otherwise fails with 403 and this message.
    fn require_scope(self, scope: Scope, refusal: &'static str) -> Result<Audited, ErrorResponse> {
        if self.authenticated.0.scope == scope {
            Ok(self)
        } else {
            Err(Error::Forbidden(refusal).into())
        }
    }
}

impl FromRequestParts<Arc<AppState>> for Audited {
    type Rejection = ErrorResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<AppState>,
    ) -> Result<Audited, ErrorResponse> {
        let authenticated = Authenticated::from_request_parts(parts, app).await?;
        let request_id = Extension::<RequestId>::from_request_parts(parts, app).await;
        let Extension(request_id) = request_id.map_err(|_| Error::Internal)?;
        Ok(Audited {
            authenticated,
            request_id,
            at: app.clock.now(),
        })
    }
}

impl FromRequestParts<Arc<AppState>> for Operator {
    type Rejection = ErrorResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<AppState>,
    ) -> Result<Operator, ErrorResponse> {
        let caller = Audited::from_request_parts(parts, app).await?;
        caller
            .require_scope(Scope::Admin, "Only operators may do this")
            .map(Operator)
    }
}

impl FromRequestParts<Arc<AppState>> for HostAppBackend {
    type Rejection = ErrorResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<AppState>,
    ) -> Result<HostAppBackend, ErrorResponse> {
        let caller = Audited::from_request_parts(parts, app).await?;
        caller
            .require_scope(Scope::Service, "Only the host app's backend may do this")
            .map(HostAppBackend)
    }
}
