//! Extractors for handlers. Those that can fail reject with an
//! [`ErrorResponse`](super::ErrorResponse).

mod audited;
mod authenticated;
mod body;
mod idempotency_key;
mod identity_proof;
mod path;
mod query;
mod row_charge;

pub(super) use audited::{Audited, HostAppBackend, Operator};
pub(super) use authenticated::Authenticated;
pub(crate) use authenticated::require_bearer_token;
pub(super) use body::{BodyTimeout, JsonBody, parse_text};
pub(super) use idempotency_key::IdempotencyKey;
pub(super) use identity_proof::IdentityProof;
pub(crate) use path::RaidPath;
pub(super) use path::{BoardPath, BoardScorePath, EndpointPath, InviteCodePath, PlayerPath};
pub(super) use query::encode_raid_cursor;
pub(crate) use query::{Query, parse_seq};
pub(super) use row_charge::{ROWS_PER_PROFILE, RowCharge};
