//! A player's own stream by REST, and the sign-in of a further device.

use hyper::Method;
use raidhall_protocol::player::{PlayerCommand, PlayerEvent};
use raidhall_protocol::rest::{CommandResult, PlayerStateAt, TokenPair};
use raidhall_protocol::{OpKey, PlayerId, Seq};
use serde_json::json;

use super::{PAGE_ROWS, RestClient, RestClientError};

impl RestClient {
    /// Signs a player in on a further device; only the host app's backend may.
    pub async fn sign_in_device(&self, player: PlayerId) -> Result<TokenPair, RestClientError> {
        let path = format!("/players/{player}/tokens");
        self.request(Method::POST, &path, Some(json!({})), None)
            .await
    }

    /// Sends a command to the stream of the token's player.
    pub async fn send_player_command(
        &self,
        op: &OpKey,
        command: &PlayerCommand,
    ) -> Result<CommandResult, RestClientError> {
        let body = json!({ "op": op, "cmd": command });
        self.request(Method::POST, "/me/commands", Some(body), None)
            .await
    }

    /// Sends a command to any player's stream; only the host app's backend may.
    pub async fn command_player(
        &self,
        player: PlayerId,
        op: &OpKey,
        command: &PlayerCommand,
    ) -> Result<CommandResult, RestClientError> {
        let path = format!("/players/{player}/commands");
        let body = json!({ "op": op, "cmd": command });
        self.request(Method::POST, &path, Some(body), None).await
    }

    /// Returns the state of the token's player, with its seq.
    pub async fn player_state(&self) -> Result<PlayerStateAt, RestClientError> {
        self.request(Method::GET, "/me/state", None, None).await
    }

    /// Returns the events of the stream of the token's player after a seq, read page by page. A page
    /// that makes no progress ends the reading.
    pub async fn player_events(&self, after: Seq) -> Result<Vec<PlayerEvent>, RestClientError> {
        let mut all: Vec<PlayerEvent> = Vec::new();
        loop {
            let after = all.last().map_or(after, |event| event.seq);
            let path = format!("/me/events?after={after}&limit={PAGE_ROWS}");
            let page: Vec<PlayerEvent> = self.request(Method::GET, &path, None, None).await?;
            let full = page.len() as u64 == PAGE_ROWS
                && page.last().is_some_and(|event| event.seq > after);
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }
}
