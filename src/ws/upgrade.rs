//! The upgrade of an HTTP request to a WebSocket. Whatever can be checked before the upgrade is
//! refused over HTTP here.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use raidhall_protocol::Codec;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::{Instrument, debug, info_span};

use super::ConnectionService;
use super::handshake::Handshake;
use crate::auth;
use crate::error::Error;
use crate::http::ErrorResponse;
use crate::http::header_list::header_list_items;
use crate::net::client_address::ClientAddress;
use crate::net::listener::{PacedStream, ReclaimedStream};

/// The length of a `Sec-WebSocket-Key`: 16 bytes in Base64 (RFC 6455 section 4.1).
const KEY_CHARS: usize = 24;

pub(super) async fn upgrade(
    State(service): State<ConnectionService>,
    address: ClientAddress,
    mut request: Request,
) -> Response {
    let checked = check_upgrade(&service, request.method(), request.headers()).await;
    let accepted = match checked {
        Ok(accepted) => accepted,
        Err(response) => return *response,
    };
    let network = address.network();
    let admission = match service.admit(network, accepted.identity.is_some()).await {
        Ok(admission) => admission,
        Err(error) => return ErrorResponse::from(error).into_response(),
    };
    let Some(on_upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return malformed_response("The connection cannot be upgraded");
    };
    let id = service.0.connections.next_id();
    let span = info_span!("connection", connection = id.0);
    let AcceptedUpgrade {
        codec,
        is_codec_requested,
        key,
        identity,
    } = accepted;
    let tasks = service.0.tasks.clone();
    tasks.spawn(
        async move {
            let upgraded = match on_upgrade.await {
                Ok(upgraded) => upgraded,
                Err(error) => return debug!(%error, "the upgrade failed"),
            };
            let Some(ReclaimedStream {
                stream,
                permit,
                read_ahead: first,
            }) = PacedStream::reclaim(upgraded)
            else {
                return debug!("the upgraded connection is of an unknown kind");
            };
            let _permit = permit;
            Handshake::new(service, id, codec, stream, first)
                .await
                .run(identity, admission)
                .await;
        }
        .instrument(span),
    );
    switching_protocols_response(&key, is_codec_requested.then_some(codec))
}

struct AcceptedUpgrade {
    codec: Codec,
    /// Whether the client requested the codec as a subprotocol, so that the response must name it.
    is_codec_requested: bool,
    key: HeaderValue,
    identity: Option<auth::Identity>,
}

async fn check_upgrade(
    service: &ConnectionService,
    method: &Method,
    headers: &HeaderMap,
) -> Result<AcceptedUpgrade, Box<Response>> {
    if method != Method::GET {
        return Err(Box::new(
            ErrorResponse::from(Error::MethodNotAllowed).into_response(),
        ));
    }
    let has = |name: HeaderName, token: &str| {
        header_list_items(headers, &name).any(|item| item.eq_ignore_ascii_case(token))
    };
    if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return Err(Box::new(malformed_response("This is a WebSocket endpoint")));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let mut response = malformed_response("Sec-WebSocket-Version must be 13");
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(response));
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|key| is_websocket_key(key.as_bytes()))
        .cloned();
    let key = key.ok_or_else(|| {
        Box::new(malformed_response(
            "Sec-WebSocket-Key must be 16 bytes in Base64",
        ))
    })?;
    if !service.0.options.allowed_origins.is_allowed(headers) {
        return Err(Box::new(
            ErrorResponse::from(Error::Forbidden(
                "Pages of this Origin may not connect: it is not in server.allowed_origins, and is not \
                 this server's own, the Host of this request, which a proxy must pass on with its port",
            ))
            .into_response(),
        ));
    }
    let offered = header_list_items(headers, &SEC_WEBSOCKET_PROTOCOL).collect::<Vec<_>>();
    let codec = offered
        .iter()
        .find_map(|name| Codec::from_subprotocol(name));
    if codec.is_none() && !offered.is_empty() {
        return Err(Box::new(malformed_response(
            "None of the subprotocols offered is spoken here",
        )));
    }
    let identity = match auth::bearer_token(headers) {
        Some(token) => Some(service.authenticate(token).await),
        None => None,
    };
    let identity = identity
        .transpose()
        .map_err(|error| Box::new(ErrorResponse::from(error).into_response()))?;
    Ok(AcceptedUpgrade {
        codec: codec.unwrap_or(Codec::Json),
        is_codec_requested: codec.is_some(),
        key,
        identity,
    })
}

fn is_websocket_key(key: &[u8]) -> bool {
    let (digits, padding) = key.split_at(key.len().min(KEY_CHARS - 2));
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == KEY_CHARS && padding == b"==" && digits.iter().all(digit)
}

fn malformed_response(message: &'static str) -> Response {
    ErrorResponse::malformed(message).into_response()
}

fn switching_protocols_response(key: &HeaderValue, codec: Option<Codec>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    headers.insert(
        SEC_WEBSOCKET_ACCEPT,
        accept.expect("Base64 is a header value"),
    );
    if let Some(codec) = codec {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(codec.subprotocol()),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_websocket_key_is_refused() {
        assert!(is_websocket_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for key in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=!",
            "dGhlIHNhbXBs ZSBub25jZQ==",
        ] {
            assert!(!is_websocket_key(key.as_bytes()), "{key}");
        }
    }
}
