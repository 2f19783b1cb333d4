//! The command `health`: asks the server on this machine whether it is alive.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use tokio::time::timeout;

use super::StartError;
use crate::config::Config;
use crate::http_client;

/// Longest time to wait for the answer, shorter than the 3 s that the image's health check has.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Fetches `/healthz` from `server.listen`.
///
/// # Errors
///
/// Fails with [`StartError::Unavailable`] unless the server answers 200 in time.
pub async fn check_health(config: &Config) -> Result<(), StartError> {
    let listen = config.server.listen;
    let ip: IpAddr = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}/healthz", SocketAddr::new(ip, listen.port()));
    let failed = |source| StartError::unavailable(url.clone(), source);
    if listen.port() == 0 {
        let why = "server.listen has port 0, so the server's port is not known";
        return Err(failed(anyhow!(why)));
    }
    let request = Request::get(&url)
        .body(Bytes::new())
        .context("build a request")?;
    let response = timeout(TIMEOUT, http_client::send_discarding_body(request))
        .await
        .map_err(|_| failed(anyhow!("no answer within {TIMEOUT:?}")))?
        .map_err(|error| failed(error.into()))?;
    match response.status() {
        StatusCode::OK => Ok(()),
        status => Err(failed(anyhow!("answered {status}"))),
    }
}
