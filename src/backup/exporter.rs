//! Export of a database, line by line.

use std::io::{self, Write};

use super::blocks::BlockWriter;
use super::format::{BackupLine, FORMAT, FooterLine, HeaderLine, VERSION};
use super::{BackupError, PAGE_ROWS};
use crate::store::backup::{BackupSource, RaidLine, StreamLine};

/// Options of an export.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether to include sign-ins, so that players need not sign in again after a restore.
    pub sign_ins: bool,
    /// The present time in Unix milliseconds, for the header.
    pub now: i64,
}

/// Numbers of rows that an export wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as what they count")]
pub struct ExportCounts {
    pub definitions: u64,
    pub players: u64,
    pub streams: u64,
    pub player_events: u64,
    pub board_scores: u64,
    pub raids: u64,
    pub events: u64,
    pub sign_ins: u64,
    pub bans: u64,
    pub audit_entries: u64,
}

/// Writes a backup of a consistent view of a database. After an error the file is incomplete, and
/// no import accepts it.
pub async fn export(
    source: &mut dyn BackupSource,
    out: impl Write + Send,
    options: Options,
) -> Result<ExportCounts, BackupError> {
    let header = HeaderLine {
        format: FORMAT.to_owned(),
        version: VERSION,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: options.now,
        database: source.database_kind().to_owned(),
        lineage: source.lineage().await?,
        sign_ins: options.sign_ins,
        boards_since: Some(source.boards_since().await?),
        boards_final_until: Some(source.boards_final_until().await?),
    };
    let mut export = Exporter {
        source,
        out: BlockWriter::new(out),
        counts: ExportCounts::default(),
    };
    export.write_line(&BackupLine::Header(header))?;
    export.write_definitions().await?;
    export.write_players().await?;
    export.write_raids().await?;
    if options.sign_ins {
        export.write_sign_ins().await?;
    }
    export.write_bans().await?;
    export.write_audit_entries().await?;
    export.finish().await
}

struct Exporter<'s, W> {
    source: &'s mut dyn BackupSource,
    out: BlockWriter<W>,
    counts: ExportCounts,
}

impl<W: Write + Send> Exporter<'_, W> {
    async fn write_definitions(&mut self) -> Result<(), BackupError> {
        let mut after = 0;
        loop {
            let page = self.source.definitions(after, PAGE_ROWS).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.number;
            for definitions in page {
                self.write_line(&BackupLine::Definitions(definitions))?;
                self.counts.definitions += 1;
            }
        }
    }

    async fn write_players(&mut self) -> Result<(), BackupError> {
        let mut after = 0;
        let mut next_stream = self.source.next_stream(0).await?;
        loop {
            let page = self.source.players(after, PAGE_ROWS).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            for player in page {
                let id = player.id;
                self.write_line(&BackupLine::Player(player))?;
                self.counts.players += 1;
                if let Some(stream) = next_stream.take_if(|stream| stream.player == id) {
                    self.write_stream(stream).await?;
                    next_stream = self.source.next_stream(id).await?;
                }
            }
        }
    }

    async fn write_stream(&mut self, stream: StreamLine) -> Result<(), BackupError> {
        let player = stream.player;
        self.write_line(&BackupLine::Stream(stream))?;
        self.counts.streams += 1;
        let mut after = 0;
        loop {
            let page = self.source.player_events(player, after, PAGE_ROWS).await?;
            let Some(last) = page.last() else {
                return self.write_board_scores(player).await;
            };
            after = last.seq;
            for event in page {
                self.write_line(&BackupLine::PlayerEvent(event))?;
                self.counts.player_events += 1;
            }
        }
    }

    async fn write_board_scores(&mut self, player: i64) -> Result<(), BackupError> {
        let mut board = String::new();
        let mut number = 0;
        loop {
            let page = self.source.board_scores(player, &board, number, PAGE_ROWS);
            let page = page.await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            board.clone_from(&last.board);
            number = last.number;
            for score in page {
                self.write_line(&BackupLine::BoardScore(score))?;
                self.counts.board_scores += 1;
            }
        }
    }

    async fn write_raids(&mut self) -> Result<(), BackupError> {
        let mut after = 0;
        loop {
            let page = self.source.raids(after, PAGE_ROWS).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            for raid in page {
                self.write_raid(raid).await?;
            }
        }
    }

    async fn write_raid(&mut self, raid: RaidLine) -> Result<(), BackupError> {
        self.write_line(&BackupLine::Raid(raid.clone()))?;
        self.counts.raids += 1;
        if let Some(snapshot) = self.source.snapshot(raid.id).await? {
            self.write_line(&BackupLine::Snapshot(snapshot))?;
        }
        let mut after = 0;
        while after < raid.last_seq {
            let page = self.source.events(&raid, after, PAGE_ROWS).await?;
            // A ledger without its last events is written as it is; the import reports it.
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.seq;
            for event in page {
                self.write_line(&BackupLine::Event(event))?;
                self.counts.events += 1;
            }
        }
        Ok(())
    }

    async fn write_sign_ins(&mut self) -> Result<(), BackupError> {
        let mut after = String::new();
        loop {
            let page = self.source.sign_ins(&after, PAGE_ROWS).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after.clone_from(&last.id);
            for sign_in in page {
                self.write_line(&BackupLine::SignIn(sign_in))?;
                self.counts.sign_ins += 1;
            }
        }
    }

    async fn write_bans(&mut self) -> Result<(), BackupError> {
        let mut after = 0;
        loop {
            let page = self.source.bans(after, PAGE_ROWS).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.player;
            for ban in page {
                self.write_line(&BackupLine::Ban(ban))?;
                self.counts.bans += 1;
            }
        }
    }

    async fn write_audit_entries(&mut self) -> Result<(), BackupError> {
        let mut after = 0;
        loop {
            let page = self.source.audit_entries(after, PAGE_ROWS).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            for entry in page {
                self.write_line(&BackupLine::Deed(entry))?;
                self.counts.audit_entries += 1;
            }
        }
    }

    async fn finish(mut self) -> Result<ExportCounts, BackupError> {
        let ids = self.source.allocated_ids().await?;
        self.write_line(&BackupLine::Ids(ids))?;
        let ExportCounts {
            definitions,
            players,
            streams,
            player_events,
            board_scores,
            raids,
            events,
            sign_ins,
            bans,
            audit_entries,
        } = self.counts;
        let counted = FooterLine {
            definitions,
            players,
            streams,
            player_events,
            board_scores,
            raids,
            events,
            sign_ins,
            bans,
            deeds: audit_entries,
            ..FooterLine::default()
        };
        let footer = |blocks, sha256| {
            BackupLine::Footer(FooterLine {
                blocks,
                sha256,
                ..counted
            })
        };
        self.out.finish(footer).map_err(write_error)?;
        Ok(self.counts)
    }

    fn write_line(&mut self, entry: &BackupLine) -> Result<(), BackupError> {
        self.out.write_line(entry).map_err(write_error)
    }
}

fn write_error(source: io::Error) -> BackupError {
    BackupError::Io {
        operation: "write",
        source,
    }
}
