//! A backup's lines in memory, which a test can alter between an import and an export.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use raidhall::backup::{BackupError, ImportReport, import};
use raidhall::store::Result;
use raidhall::store::backup::{
    AuditLine, BackupSource, BackupTarget, BanLine, BoardScoreLine, DefinitionsLine, EventLine,
    EventWithEarnings, IdsLine, PlayerEventLine, PlayerLine, RaidLine, SignInLine, SnapshotLine,
    StreamLine,
};
use raidhall_protocol::{PlayerId, RaidId, UnixMillis};

/// The lines of a backup, by kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackupContents {
    pub lineage: String,
    pub ids: IdsLine,
    pub definitions: Vec<DefinitionsLine>,
    pub players: Vec<PlayerLine>,
    pub streams: Vec<StreamLine>,
    pub player_events: Vec<PlayerEventLine>,
    pub board_scores: Vec<BoardScoreLine>,
    pub boards_since: i64,
    pub boards_final_until: i64,
    pub raids: Vec<RaidLine>,
    pub snapshots: Vec<SnapshotLine>,
    pub events: Vec<EventLine>,
    pub sign_ins: Vec<SignInLine>,
    pub bans: Vec<BanLine>,
    pub audit_entries: Vec<AuditLine>,
    pub members: Vec<(RaidId, Vec<(PlayerId, UnixMillis)>)>,
}

impl BackupContents {
    /// Reads a file, if an import accepts it.
    pub async fn read(file: &[u8]) -> Result<(BackupContents, ImportReport), BackupError> {
        let result = Arc::new(Mutex::new(None));
        let target = ContentsTarget {
            contents: BackupContents::default(),
            result: result.clone(),
        };
        let imported = import(file, Box::new(target), true).await;
        let result = result.lock().take();
        match imported {
            Ok(imported) => Ok((result.expect("committed"), imported)),
            Err(error) => {
                assert_eq!(result, None, "committed in spite of {error}");
                Err(error)
            }
        }
    }
}

struct ContentsTarget {
    contents: BackupContents,
    result: Arc<Mutex<Option<BackupContents>>>,
}

fn take_page<T: Clone>(rows: &[T], wanted: impl Fn(&T) -> bool, limit: u32) -> Vec<T> {
    rows.iter()
        .filter(|row| wanted(row))
        .take(limit as usize)
        .cloned()
        .collect()
}

#[async_trait]
impl BackupSource for BackupContents {
    fn database_kind(&self) -> &'static str {
        "memory"
    }

    async fn lineage(&mut self) -> Result<String> {
        Ok(self.lineage.clone())
    }

    async fn boards_since(&mut self) -> Result<i64> {
        Ok(self.boards_since)
    }

    async fn boards_final_until(&mut self) -> Result<i64> {
        Ok(self.boards_final_until)
    }

    async fn allocated_ids(&mut self) -> Result<IdsLine> {
        Ok(self.ids)
    }

    async fn definitions(&mut self, after: i64, limit: u32) -> Result<Vec<DefinitionsLine>> {
        Ok(take_page(&self.definitions, |it| it.number > after, limit))
    }

    async fn players(&mut self, after: i64, limit: u32) -> Result<Vec<PlayerLine>> {
        Ok(take_page(&self.players, |player| player.id > after, limit))
    }

    async fn next_stream(&mut self, after: i64) -> Result<Option<StreamLine>> {
        let mut streams = self.streams.iter();
        Ok(streams.find(|stream| stream.player > after).cloned())
    }

    async fn player_events(
        &mut self,
        player: i64,
        after: i64,
        limit: u32,
    ) -> Result<Vec<PlayerEventLine>> {
        Ok(take_page(
            &self.player_events,
            |event| event.player == player && event.seq > after,
            limit,
        ))
    }

    async fn board_scores(
        &mut self,
        player: i64,
        board: &str,
        number: i64,
        limit: u32,
    ) -> Result<Vec<BoardScoreLine>> {
        let is_wanted = |score: &BoardScoreLine| {
            score.player == player && (score.board.as_str(), score.number) > (board, number)
        };
        Ok(take_page(&self.board_scores, is_wanted, limit))
    }

    async fn raids(&mut self, after: i64, limit: u32) -> Result<Vec<RaidLine>> {
        Ok(take_page(&self.raids, |raid| raid.id > after, limit))
    }

    async fn snapshot(&mut self, raid: i64) -> Result<Option<SnapshotLine>> {
        Ok(self
            .snapshots
            .iter()
            .find(|snapshot| snapshot.raid == raid)
            .cloned())
    }

    async fn events(&mut self, raid: &RaidLine, after: i64, limit: u32) -> Result<Vec<EventLine>> {
        Ok(take_page(
            &self.events,
            |event| event.raid == raid.id && event.seq > after,
            limit,
        ))
    }

    async fn sign_ins(&mut self, after: &str, limit: u32) -> Result<Vec<SignInLine>> {
        Ok(take_page(
            &self.sign_ins,
            |sign_in| sign_in.id.as_str() > after,
            limit,
        ))
    }

    async fn bans(&mut self, after: i64, limit: u32) -> Result<Vec<BanLine>> {
        Ok(take_page(&self.bans, |ban| ban.player > after, limit))
    }

    async fn audit_entries(&mut self, after: i64, limit: u32) -> Result<Vec<AuditLine>> {
        // A file has no ids of audit entries; here their positions stand in for them.
        let from = usize::try_from(after).expect("a place");
        let rest = self
            .audit_entries
            .iter()
            .zip(1..)
            .skip(from)
            .take(limit as usize);
        Ok(rest
            .map(|(entry, id)| AuditLine {
                id,
                ..entry.clone()
            })
            .collect())
    }
}

#[async_trait]
impl BackupTarget for ContentsTarget {
    async fn add_definitions(&mut self, row: &DefinitionsLine) -> Result<()> {
        self.contents.definitions.push(row.clone());
        Ok(())
    }

    async fn add_players(&mut self, rows: &[PlayerLine]) -> Result<()> {
        self.contents.players.extend_from_slice(rows);
        Ok(())
    }

    async fn add_stream(&mut self, row: &StreamLine) -> Result<()> {
        self.contents.streams.push(row.clone());
        Ok(())
    }

    async fn add_player_events(&mut self, rows: &[PlayerEventLine]) -> Result<()> {
        self.contents.player_events.extend_from_slice(rows);
        Ok(())
    }

    async fn add_board_scores(&mut self, rows: &[BoardScoreLine], _: bool) -> Result<()> {
        self.contents.board_scores.extend_from_slice(rows);
        Ok(())
    }

    async fn set_boards_final_until(&mut self, until: i64) -> Result<()> {
        self.contents.boards_final_until = until;
        Ok(())
    }

    async fn set_boards_since(&mut self, since: i64) -> Result<()> {
        self.contents.boards_since = since;
        Ok(())
    }

    async fn add_raid(&mut self, raid: &RaidLine) -> Result<()> {
        self.contents.raids.push(raid.clone());
        Ok(())
    }

    async fn add_snapshot(&mut self, row: &SnapshotLine) -> Result<()> {
        self.contents.snapshots.push(row.clone());
        Ok(())
    }

    async fn add_events(&mut self, _: &RaidLine, rows: &[EventWithEarnings<'_>]) -> Result<()> {
        let events = rows.iter().map(|row| row.event.clone());
        self.contents.events.extend(events);
        Ok(())
    }

    async fn add_members(
        &mut self,
        raid: RaidId,
        members: &[(PlayerId, UnixMillis)],
        _: &[PlayerId],
        _: Option<PlayerId>,
    ) -> Result<()> {
        self.contents.members.push((raid, members.to_vec()));
        Ok(())
    }

    async fn add_sign_ins(&mut self, rows: &[SignInLine]) -> Result<()> {
        self.contents.sign_ins.extend_from_slice(rows);
        Ok(())
    }

    async fn add_bans(&mut self, rows: &[BanLine]) -> Result<()> {
        self.contents.bans.extend_from_slice(rows);
        Ok(())
    }

    async fn add_audit_entries(&mut self, rows: &[AuditLine]) -> Result<()> {
        self.contents.audit_entries.extend_from_slice(rows);
        Ok(())
    }

    async fn find_wrong_totals(&mut self) -> Result<Option<i64>> {
        Ok(None)
    }

    async fn commit(mut self: Box<Self>, ids: &IdsLine, lineage: Option<&str>) -> Result<()> {
        self.contents.ids = *ids;
        self.contents.lineage = lineage.unwrap_or("new").to_owned();
        *self.result.lock() = Some(self.contents);
        Ok(())
    }
}
