//! The proof of an external identity, in a header or in the body.

use axum::extract::{FromRequest, Request};

use super::body::JsonBody;
use crate::http::error_response::ErrorResponse;
use crate::http::header_names::X_TELEGRAM_INIT_DATA;

/// The proof of an external identity, not yet verified.
pub(in crate::http) enum IdentityProof {
    /// The init data of a Telegram Mini App.
    InitData(String),
    /// An issuer's token for its user.
    Token(String),
}

impl IdentityProof {
    /// Returns the name of the body's field for this kind of proof.
    pub(in crate::http) const fn field_name(&self) -> &'static str {
        match self {
            Self::InitData(_) => "init_data",
            Self::Token(_) => "token",
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for IdentityProof {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &S) -> Result<IdentityProof, ErrorResponse> {
        if let Some(value) = request.headers().get(X_TELEGRAM_INIT_DATA) {
            let text = value
                .to_str()
                .map_err(|_| ErrorResponse::malformed("X-Telegram-Init-Data is not text"))?;
            return Ok(IdentityProof::InitData(text.to_owned()));
        }
        let body = JsonBody::from_request(request, state).await?;
        body.read(|fields| {
            let token = fields.optional_text("token")?;
            let init_data = fields.optional_text("init_data")?;
            match (token, init_data) {
                (Some(token), None) => Some(IdentityProof::Token(token)),
                (None, Some(init_data)) => Some(IdentityProof::InitData(init_data)),
                _ => {
                    fields.fault("init_data", "or token is required, one of them");
                    None
                }
            }
        })
    }
}
