//! `/me/export`: everything that is kept of the caller, as one download that is written while it is read.
//!
//! Each raid is paged through, so a reader who is slow, or a player of ten thousand raids, costs a page. Of a raid's
//! events the caller gets those that they caused or that name them; what others did is others' own.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRef, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::try_unfold;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::http::authentication::{Gate, Signed};
use crate::http::error_response::Failure;
use crate::http::routes::accounts::Accounts;
use crate::store::{self, Account, Store};

/// Pages read at once for all downloads together, so that they cannot take the database's connections from play. The
/// others wait; a client that does not read holds nothing up.
const AT_ONCE: usize = 2;

/// Raids, and events of one, that are read at a time.
const PAGE: u32 = 200;

#[derive(Clone)]
struct Exports {
    accounts: Accounts,
    places: Arc<Semaphore>,
}

pub(in crate::http) fn routes(accounts: Accounts) -> Router {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    Router::new()
        .route("/api/v1/me/export", get(export))
        .with_state(Exports { accounts, places })
}

impl FromRef<Exports> for Gate {
    fn from_ref(exports: &Exports) -> Gate {
        exports.accounts.gate.clone()
    }
}

async fn export(State(exports): State<Exports>, signed: Signed) -> Result<Response, Failure> {
    let player = signed.player()?.id;
    let store = exports.accounts.store;
    let account = store
        .account(player)
        .await?
        .ok_or(Error::NotFound("There is no such player"))?;
    let download = Download {
        store,
        player,
        next: Next::Account(account),
        raids: VecDeque::new(),
        after: None,
        some_raid: false,
        places: exports.places,
    };
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"raidhall-player-{player}.json\""),
        ),
    ];
    Ok((
        headers,
        Body::from_stream(try_unfold(download, Download::step)),
    )
        .into_response())
}

/// A download as far as it has come. An error breaks it off: what arrived is then no whole JSON.
struct Download {
    store: Arc<dyn Store>,
    player: PlayerId,
    next: Next,
    raids: VecDeque<RaidId>,
    after: Option<RaidId>,
    some_raid: bool,
    places: Arc<Semaphore>,
}

/// What is written next.
enum Next {
    Account(Account),
    Raids,
    Events(Own),
    Nothing,
}

/// One raid, as far as it has been read.
struct Own {
    raid: RaidId,
    after: Seq,
    title: Option<String>,
    member: bool,
    some_event: bool,
}

impl Download {
    async fn step(mut self) -> store::Result<Option<(Bytes, Download)>> {
        let places = Arc::clone(&self.places);
        // It is never closed.
        let _place = places.acquire().await.ok();
        let text = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Account(account) => {
                self.next = Next::Raids;
                beginning(&account)
            }
            Next::Raids => self.next_raid().await?,
            Next::Events(own) => self.events(own).await?,
            Next::Nothing => return Ok(None),
        };
        Ok(Some((text.into(), self)))
    }

    async fn next_raid(&mut self) -> store::Result<String> {
        if self.raids.is_empty() {
            self.raids = self
                .store
                .raids_ever_joined(self.player, self.after, PAGE)
                .await?
                .into();
        }
        let Some(raid) = self.raids.pop_front() else {
            return Ok("]}}\n".to_owned());
        };
        self.after = Some(raid);
        let comma = if std::mem::replace(&mut self.some_raid, true) {
            ","
        } else {
            ""
        };
        let own = Own {
            raid,
            after: Seq::ZERO,
            title: None,
            member: false,
            some_event: false,
        };
        self.next = Next::Events(own);
        Ok(format!("{comma}{{\"id\":{raid},\"events\":["))
    }

    async fn events(&mut self, mut own: Own) -> store::Result<String> {
        let page = self.store.events(own.raid, own.after, PAGE).await?;
        let Some(last) = page.last() else {
            self.next = Next::Raids;
            return Ok(format!(
                "],\"title\":{},\"member\":{}}}",
                json!(own.title),
                own.member
            ));
        };
        own.after = last.seq;
        let mut text = String::new();
        for event in &page {
            own.note(event, self.player);
            if concerns(event, self.player) {
                let comma = if std::mem::replace(&mut own.some_event, true) {
                    ","
                } else {
                    ""
                };
                text.push_str(comma);
                text.push_str(&json!(event).to_string());
            }
        }
        self.next = Next::Events(own);
        Ok(text)
    }
}

impl Own {
    fn note(&mut self, event: &Event, player: PlayerId) {
        match &event.data {
            EventData::RaidCreated { title, .. } => self.title = Some(title.clone()),
            EventData::MemberJoined { player: joined, .. } if *joined == player => {
                self.member = true
            }
            EventData::MemberLeft { player: left, .. } if *left == player => self.member = false,
            _ => {}
        }
    }
}

fn beginning(
    Account {
        profile,
        external_id,
        sign_ins,
    }: &Account,
) -> String {
    let sign_in = |sign_in: &store::SignIn| json!({ "renewed_at": sign_in.renewed_at, "expires_at": sign_in.expires_at });
    let sign_ins: Vec<_> = sign_ins.iter().map(sign_in).collect();
    let (player, external_id, sign_ins) = (json!(profile), json!(external_id), json!(sign_ins));
    format!(
        r#"{{"data":{{"player":{player},"external_id":{external_id},"sign_ins":{sign_ins},"raids":["#
    )
}

/// Whether an event is the player's doing, or names them.
fn concerns(event: &Event, player: PlayerId) -> bool {
    let named = match &event.data {
        EventData::MemberJoined { player, .. }
        | EventData::MemberLeft { player, .. }
        | EventData::TaskClaimed { player, .. }
        | EventData::TaskReleased { player, .. }
        | EventData::TaskCompleted { player, .. }
        | EventData::TaskFailed { player, .. }
        | EventData::Contributed { player, .. }
        | EventData::PlayerErased { player, .. } => [Some(*player), None],
        EventData::LeaderChanged {
            player, previous, ..
        } => [Some(*player), Some(*previous)],
        EventData::RaidCompleted { ranking } => [
            ranking
                .iter()
                .map(|rank| rank.player)
                .find(|ranked| *ranked == player),
            None,
        ],
        EventData::RaidCreated { .. }
        | EventData::RaidStarted { .. }
        | EventData::TaskAdded { .. }
        | EventData::Said { .. }
        | EventData::RaidFailed { .. } => [None, None],
    };
    event.by == Some(player) || named.contains(&Some(player))
}
