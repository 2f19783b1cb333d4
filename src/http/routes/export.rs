//! `/me/export`: all data about the caller, as one streamed download.
//!
//! The player's stream, scores on leaderboards, raids and their events are read page by page, so that a slow client, or a player
//! with ten thousand raids, costs the memory of one page. Of a raid's events the download contains those
//! that the caller caused or that name the caller; the actions of other players are their own data.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::try_unfold;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq};
use serde_json::json;

use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::Authenticated;
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::limits::keyed_limit::{KeyedLimit, Permit};
use crate::progression::BoardWindowId;
use crate::store::{self, Account, BoardScore};

/// The number of raids, of scores, or of events of a raid or of the player's stream, in one page.
const PAGE_ROWS: u32 = 200;

/// The retry delay in the refusal of a second download at the same time.
const DOWNLOAD_RETRY_DELAY: Duration = Duration::from_secs(10);

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new().route("/api/v1/me/export", get(export))
}

async fn export(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    limit_headers: RateLimitHeaders,
) -> Result<Response, ErrorResponse> {
    let player = caller.player()?.id;
    let download_permit = KeyedLimit::try_acquire(&app.export_permits.downloads, player)
        .ok_or(Error::RateLimited(DOWNLOAD_RETRY_DELAY))?;
    let account = app
        .store
        .account(player, app.clock.now())
        .await?
        .ok_or(PLAYER_NOT_FOUND)?;
    app.rate_limits
        .charge_export(player, &limit_headers)
        .await?;
    let download = Download {
        app,
        player,
        _download_permit: download_permit,
        next_step: ExportStep::Account(account),
        pending_raids: VecDeque::new(),
        last_raid: None,
        has_written_raid: false,
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
        Body::from_stream(try_unfold(download, Download::next_chunk)),
    )
        .into_response())
}

/// The progress of a download. A store error aborts it, and the client is left with incomplete
/// JSON.
struct Download {
    app: Arc<AppState>,
    player: PlayerId,
    /// Held until the download ends: a player has one at a time.
    _download_permit: Permit<PlayerId>,
    next_step: ExportStep,
    pending_raids: VecDeque<RaidId>,
    last_raid: Option<RaidId>,
    has_written_raid: bool,
}

/// The part of the document that is written next.
enum ExportStep {
    Account(Account),
    /// Events of the player's stream after a seq.
    Stream(Seq),
    /// The scores on leaderboards after those of a window.
    Scores(BoardWindowId),
    Raids,
    Events(RaidExport),
    Done,
}

/// The progress of one raid in a download.
struct RaidExport {
    raid: RaidId,
    last_seq: Seq,
    title: Option<String>,
    is_member: bool,
    has_written_event: bool,
}

impl Download {
    async fn next_chunk(mut self) -> store::Result<Option<(Bytes, Download)>> {
        let permits = Arc::clone(&self.app.export_permits.pages);
        // Acquiring cannot fail: the semaphore is never closed.
        let _permit = permits.acquire().await.ok();
        let text = match std::mem::replace(&mut self.next_step, ExportStep::Done) {
            ExportStep::Account(account) => {
                self.next_step = ExportStep::Stream(Seq::ZERO);
                document_head(&account)
            }
            ExportStep::Stream(after) => self.write_stream(after).await?,
            ExportStep::Scores(after) => self.write_scores(after).await?,
            ExportStep::Raids => self.begin_next_raid().await?,
            ExportStep::Events(own) => self.write_events(own).await?,
            ExportStep::Done => return Ok(None),
        };
        Ok(Some((text.into(), self)))
    }

    async fn write_stream(&mut self, after: Seq) -> store::Result<String> {
        let store = &self.app.store;
        let page = store.stream_events(self.player, after, PAGE_ROWS).await?;
        let Some(last) = page.last() else {
            self.next_step = ExportStep::Scores(BoardWindowId::default());
            return Ok(r#"],"board_scores":["#.to_owned());
        };
        self.next_step = ExportStep::Stream(last.seq);
        let events: Vec<_> = page.iter().map(|event| json!(event).to_string()).collect();
        let comma = if after == Seq::ZERO { "" } else { "," };
        Ok(comma.to_owned() + &events.join(","))
    }

    async fn write_scores(&mut self, after: BoardWindowId) -> store::Result<String> {
        let store = &self.app.store;
        let page = store
            .scores_of_player(self.player, &after, PAGE_ROWS)
            .await?;
        let Some((last, _)) = page.last() else {
            self.next_step = ExportStep::Raids;
            return Ok(r#"],"raids":["#.to_owned());
        };
        self.next_step = ExportStep::Scores(last.clone());
        let scores = page.iter().map(|(window, score)| {
            let BoardScore {
                position,
                is_listed,
            } = score;
            let BoardWindowId { board, number } = window;
            json!({
                "board": board,
                "number": number,
                "score": position.score,
                "reached_at": position.reached_at,
                "reached_raid": position.reached_place.raid,
                "reached_seq": position.reached_place.seq,
                "listed": is_listed,
            })
        });
        let scores: Vec<_> = scores.map(|score| score.to_string()).collect();
        let is_first = after == BoardWindowId::default();
        let comma = if is_first { "" } else { "," };
        Ok(comma.to_owned() + &scores.join(","))
    }

    async fn begin_next_raid(&mut self) -> store::Result<String> {
        if self.pending_raids.is_empty() {
            self.pending_raids = self
                .app
                .store
                .raids_ever_joined(self.player, self.last_raid, PAGE_ROWS)
                .await?
                .into();
        }
        let Some(raid) = self.pending_raids.pop_front() else {
            return Ok("]}}\n".to_owned());
        };
        self.last_raid = Some(raid);
        let comma = separator(&mut self.has_written_raid);
        let own = RaidExport {
            raid,
            last_seq: Seq::ZERO,
            title: None,
            is_member: false,
            has_written_event: false,
        };
        self.next_step = ExportStep::Events(own);
        Ok(format!("{comma}{{\"id\":{raid},\"events\":["))
    }

    async fn write_events(&mut self, mut own: RaidExport) -> store::Result<String> {
        let page = self
            .app
            .store
            .events(own.raid, own.last_seq, PAGE_ROWS)
            .await?;
        let Some(last) = page.last() else {
            self.next_step = ExportStep::Raids;
            return Ok(format!(
                "],\"title\":{},\"member\":{}}}",
                json!(own.title),
                own.is_member
            ));
        };
        own.last_seq = last.seq;
        let mut text = String::new();
        for event in &page {
            own.apply_event(event, self.player);
            if involves_player(event, self.player) {
                text.push_str(separator(&mut own.has_written_event));
                text.push_str(&json!(event).to_string());
            }
        }
        self.next_step = ExportStep::Events(own);
        Ok(text)
    }
}

impl RaidExport {
    fn apply_event(&mut self, event: &Event, player: PlayerId) {
        match &event.data {
            EventData::RaidCreated { title, .. } => self.title = Some(title.clone()),
            EventData::MemberJoined { player: joined, .. } if *joined == player => {
                self.is_member = true
            }
            EventData::MemberLeft { player: left, .. } if *left == player => self.is_member = false,
            _ => {}
        }
    }
}

/// Returns the separator before an item of a JSON array: a comma, except before the first item.
fn separator(has_written_item: &mut bool) -> &'static str {
    if std::mem::replace(has_written_item, true) {
        ","
    } else {
        ""
    }
}

fn document_head(
    Account {
        profile,
        external_id,
        sign_ins,
    }: &Account,
) -> String {
    let sign_in = |sign_in: &store::SignIn| json!({ "renewed_at": sign_in.renewed_at, "expires_at": sign_in.expires_at });
    let sign_ins: Vec<_> = sign_ins.iter().map(sign_in).collect();
    let player = json!(profile);
    let external_id = json!(external_id);
    let sign_ins = json!(sign_ins);
    format!(
        r#"{{"data":{{"player":{player},"external_id":{external_id},"sign_ins":{sign_ins},"stream":["#
    )
}

/// Whether a player caused an event or is named in it.
fn involves_player(event: &Event, player: PlayerId) -> bool {
    let named = match &event.data {
        EventData::MemberJoined { player, .. }
        | EventData::MemberLeft { player, .. }
        | EventData::TaskClaimed { player, .. }
        | EventData::TaskReleased { player, .. }
        | EventData::TaskCompleted { player, .. }
        | EventData::TaskFailed { player, .. }
        | EventData::Contributed { player, .. }
        | EventData::MemberMuted { player, .. }
        | EventData::PlayerErased { player, .. } => [Some(*player), None],
        EventData::TaskEdited { author, .. } => [*author, None],
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
        | EventData::TaskRemoved { .. }
        | EventData::Said { .. }
        | EventData::InviteRotated { .. }
        | EventData::RaidFailed { .. } => [None, None],
    };
    event.by == Some(player) || named.contains(&Some(player))
}
