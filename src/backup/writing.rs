//! A database, written line by line.

use std::io::{self, Write};

use super::file::BlockWriter;
use super::form::{FORMAT, Footer, VERSION};
use super::{BackupError, Entry, Header, PAGE, Raid, Source};

/// What goes into a backup besides what must.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Sign-ins, so that players need not sign in again after a restore.
    pub sign_ins: bool,
    /// The time, for the header.
    pub now: i64,
}

/// What went into a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as what they count")]
pub struct Exported {
    pub players: u64,
    pub raids: u64,
    pub events: u64,
    pub sign_ins: u64,
    pub bans: u64,
    pub deeds: u64,
}

/// Writes a backup of one moment of a database. An error leaves a file that no import accepts.
pub async fn export(
    source: &mut dyn Source,
    out: impl Write + Send,
    options: Options,
) -> Result<Exported, BackupError> {
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: options.now,
        database: source.kind().to_owned(),
        lineage: source.lineage().await?,
        sign_ins: options.sign_ins,
    };
    let mut export = Export {
        source,
        out: BlockWriter::new(out),
        wrote: Exported::default(),
    };
    export.line(&Entry::Header(header))?;
    export.players().await?;
    export.raids().await?;
    if options.sign_ins {
        export.sign_ins().await?;
    }
    export.bans().await?;
    export.deeds().await?;
    export.end().await
}

struct Export<'s, W> {
    source: &'s mut dyn Source,
    out: BlockWriter<W>,
    wrote: Exported,
}

impl<W: Write + Send> Export<'_, W> {
    async fn players(&mut self) -> Result<(), BackupError> {
        let mut after = 0;
        loop {
            let page = self.source.players(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            for player in page {
                self.line(&Entry::Player(player))?;
                self.wrote.players += 1;
            }
        }
    }

    async fn raids(&mut self) -> Result<(), BackupError> {
        let mut after = 0;
        loop {
            let page = self.source.raids(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            for raid in page {
                self.raid(raid).await?;
            }
        }
    }

    async fn raid(&mut self, raid: Raid) -> Result<(), BackupError> {
        self.line(&Entry::Raid(raid.clone()))?;
        self.wrote.raids += 1;
        if let Some(snapshot) = self.source.snapshot(raid.id).await? {
            self.line(&Entry::Snapshot(snapshot))?;
        }
        let mut after = 0;
        while after < raid.last_seq {
            let page = self.source.events(&raid, after, PAGE).await?;
            // A ledger with a hole at its end is written as it is: an import says so.
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.seq;
            for event in page {
                self.line(&Entry::Event(event))?;
                self.wrote.events += 1;
            }
        }
        Ok(())
    }

    async fn sign_ins(&mut self) -> Result<(), BackupError> {
        let mut after = String::new();
        loop {
            let page = self.source.sign_ins(&after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after.clone_from(&last.id);
            for sign_in in page {
                self.line(&Entry::SignIn(sign_in))?;
                self.wrote.sign_ins += 1;
            }
        }
    }

    async fn bans(&mut self) -> Result<(), BackupError> {
        let mut after = 0;
        loop {
            let page = self.source.bans(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.player;
            for ban in page {
                self.line(&Entry::Ban(ban))?;
                self.wrote.bans += 1;
            }
        }
    }

    async fn deeds(&mut self) -> Result<(), BackupError> {
        let mut after = 0;
        loop {
            let page = self.source.deeds(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            for deed in page {
                self.line(&Entry::Deed(deed))?;
                self.wrote.deeds += 1;
            }
        }
    }

    async fn end(mut self) -> Result<Exported, BackupError> {
        let ids = self.source.ids().await?;
        self.line(&Entry::Ids(ids))?;
        let Exported {
            players,
            raids,
            events,
            sign_ins,
            bans,
            deeds,
        } = self.wrote;
        let counted = Footer {
            players,
            raids,
            events,
            sign_ins,
            bans,
            deeds,
            ..Footer::default()
        };
        let footer = |blocks, sha256| {
            Entry::Footer(Footer {
                blocks,
                sha256,
                ..counted
            })
        };
        self.out.end(footer).map_err(not_written)?;
        Ok(self.wrote)
    }

    fn line(&mut self, entry: &Entry) -> Result<(), BackupError> {
        self.out.line(entry).map_err(not_written)
    }
}

fn not_written(source: io::Error) -> BackupError {
    BackupError::Io {
        operation: "write",
        source,
    }
}
