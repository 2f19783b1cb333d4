//! A database, from a file: each line in its place, each raid folded, and only after the footer is any of it true.

use std::io::Read;

use super::check::Fold;
use super::form::{FORMAT, Footer, VERSION};
use super::reading::Lines;
use super::{BackupError, Ban, Deed, Entry, Event, Header, Ids, PAGE, Player, SignIn, Target};

/// What came out of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Where it came from.
    pub header: Header,
    /// How much there was.
    pub footer: Footer,
    /// Snapshots that were left out, since they are not what the ledger amounts to.
    pub snapshots_left_out: u64,
}

/// Fills an empty database. The history gets a new name unless `keep_lineage`.
///
/// # Errors
///
/// Whatever the error, the database is as empty as before.
pub async fn import(
    input: impl Read + Send,
    target: Box<dyn Target>,
    keep_lineage: bool,
) -> Result<Imported, BackupError> {
    let mut lines = Lines::of(input);
    let header = match lines.next()? {
        Entry::Header(header) => accepted(header)?,
        _ => {
            return Err(BackupError::wrong(
                lines.place(),
                "a header must come first",
            ));
        }
    };
    let mut import = Import::into(target);
    let footer = loop {
        let entry = lines.next()?;
        let part = Part::of(&entry);
        if part < import.part || part == Part::Header || (part == import.part && part >= Part::Ids)
        {
            return Err(BackupError::wrong(
                lines.place(),
                "a line is out of its place",
            ));
        }
        if part != import.part {
            import.flush().await?;
        }
        import.part = part;
        match entry {
            Entry::Ids(ids) => import.reserve(ids),
            Entry::Footer(footer) => break footer,
            entry => import.take(entry, &lines.place()).await?,
        }
    };
    let snapshots_left_out = import.snapshots - import.snapshots_taken;
    import
        .end(&footer, keep_lineage.then_some(header.lineage.as_str()))
        .await?;
    Ok(Imported {
        header,
        footer,
        snapshots_left_out,
    })
}

fn accepted(header: Header) -> Result<Header, BackupError> {
    if header.format != FORMAT {
        return Err(BackupError::wrong(
            "header",
            format!("this is {:?}, not a backup", header.format),
        ));
    }
    if header.version > VERSION {
        let why = format!(
            "version {} is newer than this release, which reads up to {VERSION}",
            header.version
        );
        return Err(BackupError::wrong("header", why));
    }
    Ok(header)
}

/// The parts of a file, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Header,
    Players,
    Raids,
    SignIns,
    Bans,
    Deeds,
    Ids,
    Footer,
}

impl Part {
    fn of(entry: &Entry) -> Part {
        match entry {
            Entry::Header(_) => Part::Header,
            Entry::Player(_) => Part::Players,
            Entry::Raid(_) | Entry::Snapshot(_) | Entry::Event(_) => Part::Raids,
            Entry::SignIn(_) => Part::SignIns,
            Entry::Ban(_) => Part::Bans,
            Entry::Deed(_) => Part::Deeds,
            Entry::Ids(_) => Part::Ids,
            Entry::Footer(_) => Part::Footer,
        }
    }
}

/// What is under way.
struct Import {
    target: Box<dyn Target>,
    part: Part,
    players: Vec<Player>,
    fold: Option<Fold>,
    events: Vec<Event>,
    sign_ins: Vec<SignIn>,
    bans: Vec<Ban>,
    deeds: Vec<Deed>,
    ids: Ids,
    counted: Footer,
    snapshots: u64,
    snapshots_taken: u64,
}

impl Import {
    fn into(target: Box<dyn Target>) -> Import {
        Import {
            target,
            part: Part::Header,
            players: Vec::new(),
            fold: None,
            events: Vec::new(),
            sign_ins: Vec::new(),
            bans: Vec::new(),
            deeds: Vec::new(),
            ids: Ids::default(),
            counted: Footer::default(),
            snapshots: 0,
            snapshots_taken: 0,
        }
    }

    async fn take(&mut self, entry: Entry, place: &str) -> Result<(), BackupError> {
        match entry {
            Entry::Player(player) => {
                self.reserve(Ids {
                    players: player.id,
                    raids: 0,
                });
                self.players.push(player);
                self.counted.players += 1;
            }
            Entry::Raid(raid) => {
                self.end_raid().await?;
                self.reserve(Ids {
                    players: 0,
                    raids: raid.id,
                });
                self.target.raid(&raid).await?;
                let place = format!("raid {}", raid.id);
                self.fold = Some(Fold::of(raid).map_err(|why| BackupError::wrong(place, why))?);
                self.counted.raids += 1;
            }
            Entry::Snapshot(snapshot) => {
                self.snapshots += 1;
                self.fold(place)?
                    .expect(snapshot)
                    .map_err(|why| BackupError::wrong(place, why))?;
            }
            Entry::Event(event) => self.event(event, place).await?,
            Entry::SignIn(sign_in) => {
                self.sign_ins.push(sign_in);
                self.counted.sign_ins += 1;
            }
            Entry::Ban(ban) => {
                self.bans.push(ban);
                self.counted.bans += 1;
            }
            Entry::Deed(deed) => {
                self.deeds.push(deed);
                self.counted.deeds += 1;
            }
            Entry::Header(_) | Entry::Ids(_) | Entry::Footer(_) => {
                return Err(BackupError::wrong(place, "a line is out of its place"));
            }
        }
        let waiting = [
            self.players.len(),
            self.events.len(),
            self.sign_ins.len(),
            self.bans.len(),
            self.deeds.len(),
        ];
        if waiting.iter().sum::<usize>() >= PAGE as usize {
            self.flush_rows().await?;
        }
        Ok(())
    }

    /// Ids up to these are taken.
    fn reserve(&mut self, ids: Ids) {
        self.ids.players = self.ids.players.max(ids.players);
        self.ids.raids = self.ids.raids.max(ids.raids);
    }

    async fn event(&mut self, event: Event, place: &str) -> Result<(), BackupError> {
        let fold = self.fold(place)?;
        let raid = format!("raid {}", fold.row.id);
        let snapshot = fold
            .event(&event)
            .map_err(|why| BackupError::wrong(raid, why))?;
        if let Some(snapshot) = snapshot {
            self.target.snapshot(&snapshot).await?;
            self.snapshots_taken += 1;
        }
        self.events.push(event);
        self.counted.events += 1;
        Ok(())
    }

    fn fold(&mut self, place: &str) -> Result<&mut Fold, BackupError> {
        self.fold
            .as_mut()
            .ok_or_else(|| BackupError::wrong(place, "a line without its raid"))
    }

    /// Writes what waits, and puts the raid that was under way to the test.
    async fn flush(&mut self) -> Result<(), BackupError> {
        self.end_raid().await?;
        self.flush_rows().await
    }

    async fn end_raid(&mut self) -> Result<(), BackupError> {
        self.flush_rows().await?;
        let Some(fold) = self.fold.take() else {
            return Ok(());
        };
        let place = format!("raid {}", fold.row.id);
        let folded = fold.end().map_err(|why| BackupError::wrong(place, why))?;
        Ok(self
            .target
            .members(folded.id, &folded.members, &folded.former)
            .await?)
    }

    async fn flush_rows(&mut self) -> Result<(), BackupError> {
        if !self.players.is_empty() {
            self.target
                .players(&std::mem::take(&mut self.players))
                .await?;
        }
        if let Some(fold) = &self.fold
            && !self.events.is_empty()
        {
            self.target
                .events(&fold.row, &std::mem::take(&mut self.events))
                .await?;
        }
        if !self.sign_ins.is_empty() {
            self.target
                .sign_ins(&std::mem::take(&mut self.sign_ins))
                .await?;
        }
        if !self.bans.is_empty() {
            self.target.bans(&std::mem::take(&mut self.bans)).await?;
        }
        if !self.deeds.is_empty() {
            self.target.deeds(&std::mem::take(&mut self.deeds)).await?;
        }
        Ok(())
    }

    async fn end(mut self, footer: &Footer, lineage: Option<&str>) -> Result<(), BackupError> {
        let Footer { blocks, sha256, .. } = footer.clone();
        let counted = Footer {
            blocks,
            sha256,
            ..self.counted
        };
        if counted != *footer {
            return Err(BackupError::wrong(
                "footer",
                "it counts other lines than there are",
            ));
        }
        if let Some(player) = self.target.wrong_totals().await? {
            let why = "their totals are not what the ledger adds up to";
            return Err(BackupError::wrong(format!("player {player}"), why));
        }
        Ok(self.target.finish(&self.ids, lineage).await?)
    }
}
