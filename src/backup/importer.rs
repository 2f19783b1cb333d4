//! Import of a file: lines are checked for their order, raids are verified, and the transaction is
//! committed only after the footer.

use std::io::Read;

use super::checks::{check_header, check_line};
use super::format::{BackupLine, FORMAT, FooterLine, HeaderLine, VERSION};
use super::reader::LineReader;
use super::stream_verify::{StreamVerifier, VerifiedStream};
use super::verify::{RaidVerifier, with_earnings};
use super::{BackupError, PAGE_ROWS};
use crate::store::StoreError;
use crate::store::backup::{
    AuditLine, BackupTarget, BanLine, BoardScoreLine, EventLine, IdsLine, PlayerEventLine,
    PlayerLine, SignInLine, StreamLine,
};

/// What an import read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    pub header: HeaderLine,
    /// The file's footer, with the number of lines of each kind.
    pub footer: FooterLine,
    /// Number of snapshots that were skipped because they contradict the ledger.
    pub snapshots_left_out: u64,
}

/// Fills an empty database, which gets a new lineage unless `keep_lineage`.
///
/// # Errors
///
/// After any error, the database is as empty as before.
pub async fn import(
    input: impl Read + Send,
    target: Box<dyn BackupTarget>,
    keep_lineage: bool,
) -> Result<ImportReport, BackupError> {
    let imported = import_lines(input, target, keep_lineage).await;
    imported.map_err(|error| match error {
        // Such as two raids with the same invite code.
        BackupError::Store(StoreError::Refused { source, .. }) => {
            BackupError::invalid("the database refuses a line", format!("{source:#}"))
        }
        other => other,
    })
}

async fn import_lines(
    input: impl Read + Send,
    target: Box<dyn BackupTarget>,
    keep_lineage: bool,
) -> Result<ImportReport, BackupError> {
    let mut lines = LineReader::new(input);
    let header = match lines.next_line()? {
        BackupLine::Header(header) if header.format == FORMAT => check_version(header)?,
        _ => return Err(lines.fault("a header must come first").into()),
    };
    check_header(&header).map_err(|why| BackupError::invalid("header", why))?;
    let mut import = Importer::new(target);
    if let Some(since) = header.boards_since {
        import.target.set_boards_since(since).await?;
    }
    if let Some(until) = header.boards_final_until {
        import.target.set_boards_final_until(until).await?;
    }
    let footer = loop {
        let entry = lines.next_line()?;
        check_line(&entry)
            .map_err(|why| BackupError::invalid(name_line(&entry, &lines.location()), why))?;
        let part = Section::from_line(&entry);
        if part < import.section
            || part == Section::Header
            || (part == import.section && part >= Section::Ids)
        {
            return Err(BackupError::invalid(
                lines.location(),
                "a line is out of order",
            ));
        }
        if part != import.section {
            import.flush().await?;
        }
        import.section = part;
        match entry {
            BackupLine::Ids(ids) => import.reserve_ids(ids),
            BackupLine::Footer(footer) => break footer,
            entry => import.add_line(entry, &lines.location()).await?,
        }
    };
    let snapshots_left_out = import.snapshots_read - import.snapshots_kept;
    import
        .finish(&footer, keep_lineage.then_some(header.lineage.as_str()))
        .await?;
    Ok(ImportReport {
        header,
        footer,
        snapshots_left_out,
    })
}

fn check_version(header: HeaderLine) -> Result<HeaderLine, BackupError> {
    if header.version > VERSION {
        let why = format!(
            "version {} is newer than this release, which reads up to {VERSION}",
            header.version
        );
        return Err(BackupError::invalid("header", why));
    }
    Ok(header)
}

/// Names a line for an error: by what it is about, or by its location.
fn name_line(entry: &BackupLine, location: &str) -> String {
    match entry {
        BackupLine::Player(player) => format!("player {}", player.id),
        BackupLine::Stream(stream) => name_stream(stream.player),
        BackupLine::PlayerEvent(event) => {
            format!("{}: event {}", name_stream(event.player), event.seq)
        }
        BackupLine::Raid(raid) => format!("raid {}", raid.id),
        BackupLine::Event(event) => format!("raid {}: event {}", event.raid, event.seq),
        BackupLine::BoardScore(score) => {
            let BoardScoreLine { board, number, .. } = score;
            format!("{}: score {board} {number}", name_stream(score.player))
        }
        _ => location.to_owned(),
    }
}

fn name_stream(player: i64) -> String {
    format!("stream of player {player}")
}

/// The sections of a file, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Header,
    Definitions,
    Players,
    Raids,
    SignIns,
    Bans,
    AuditEntries,
    Ids,
    Footer,
}

impl Section {
    fn from_line(entry: &BackupLine) -> Section {
        match entry {
            BackupLine::Header(_) => Section::Header,
            BackupLine::Definitions(_) => Section::Definitions,
            BackupLine::Player(_)
            | BackupLine::Stream(_)
            | BackupLine::PlayerEvent(_)
            | BackupLine::BoardScore(_) => Section::Players,
            BackupLine::Raid(_) | BackupLine::Snapshot(_) | BackupLine::Event(_) => Section::Raids,
            BackupLine::SignIn(_) => Section::SignIns,
            BackupLine::Ban(_) => Section::Bans,
            BackupLine::Deed(_) => Section::AuditEntries,
            BackupLine::Ids(_) => Section::Ids,
            BackupLine::Footer(_) => Section::Footer,
        }
    }
}

/// State of an import: the current player, stream or raid, rows that are not written yet, and counts.
struct Importer {
    target: Box<dyn BackupTarget>,
    section: Section,
    players: Vec<PlayerLine>,
    /// The last player, until their stream begins.
    player: Option<PlayerLine>,
    stream: Option<StreamVerifier>,
    player_events: Vec<PlayerEventLine>,
    raid: Option<RaidVerifier>,
    events: Vec<EventLine>,
    sign_ins: Vec<SignInLine>,
    bans: Vec<BanLine>,
    audit_entries: Vec<AuditLine>,
    ids: IdsLine,
    counts: FooterLine,
    snapshots_read: u64,
    snapshots_kept: u64,
}

impl Importer {
    fn new(target: Box<dyn BackupTarget>) -> Importer {
        Importer {
            target,
            section: Section::Header,
            players: Vec::new(),
            player: None,
            stream: None,
            player_events: Vec::new(),
            raid: None,
            events: Vec::new(),
            sign_ins: Vec::new(),
            bans: Vec::new(),
            audit_entries: Vec::new(),
            ids: IdsLine::default(),
            counts: FooterLine::default(),
            snapshots_read: 0,
            snapshots_kept: 0,
        }
    }

    async fn add_line(&mut self, entry: BackupLine, place: &str) -> Result<(), BackupError> {
        match entry {
            BackupLine::Definitions(definitions) => {
                self.counts.definitions += 1;
                if u64::try_from(definitions.number) != Ok(self.counts.definitions) {
                    return Err(BackupError::invalid(
                        place,
                        "number: must follow the one before",
                    ));
                }
                self.target.add_definitions(&definitions).await?;
            }
            BackupLine::Player(player) => {
                self.finish_stream().await?;
                self.reserve_ids(IdsLine {
                    players: player.id,
                    raids: 0,
                });
                self.player = Some(player.clone());
                self.players.push(player);
                self.counts.players += 1;
            }
            BackupLine::Stream(stream) => self.begin_stream(stream)?,
            BackupLine::PlayerEvent(event) => self.add_player_event(event, place)?,
            BackupLine::BoardScore(score) => self.add_board_score(score, place)?,
            BackupLine::Raid(raid) => {
                self.finish_raid().await?;
                self.reserve_ids(IdsLine {
                    players: 0,
                    raids: raid.id,
                });
                self.target.add_raid(&raid).await?;
                let place = format!("raid {}", raid.id);
                self.raid =
                    Some(RaidVerifier::new(raid).map_err(|why| BackupError::invalid(place, why))?);
                self.counts.raids += 1;
            }
            BackupLine::Snapshot(snapshot) => {
                self.snapshots_read += 1;
                self.current_raid(place)?
                    .expect_snapshot(snapshot)
                    .map_err(|why| BackupError::invalid(place, why))?;
            }
            BackupLine::Event(event) => self.add_event(event, place).await?,
            BackupLine::SignIn(sign_in) => {
                self.sign_ins.push(sign_in);
                self.counts.sign_ins += 1;
            }
            BackupLine::Ban(ban) => {
                self.bans.push(ban);
                self.counts.bans += 1;
            }
            BackupLine::Deed(audit_entry) => {
                self.audit_entries.push(audit_entry);
                self.counts.deeds += 1;
            }
            BackupLine::Header(_) | BackupLine::Ids(_) | BackupLine::Footer(_) => {
                return Err(BackupError::invalid(place, "a line is out of order"));
            }
        }
        let waiting = [
            self.players.len(),
            self.player_events.len(),
            self.events.len(),
            self.sign_ins.len(),
            self.bans.len(),
            self.audit_entries.len(),
        ];
        if waiting.iter().sum::<usize>() >= PAGE_ROWS as usize {
            self.flush_rows().await?;
        }
        Ok(())
    }

    /// Raises the allocated ids to at least these.
    fn reserve_ids(&mut self, ids: IdsLine) {
        self.ids.players = self.ids.players.max(ids.players);
        self.ids.raids = self.ids.raids.max(ids.raids);
    }

    fn begin_stream(&mut self, stream: StreamLine) -> Result<(), BackupError> {
        let place = name_stream(stream.player);
        let out_of_place = || BackupError::invalid(&place, "a stream does not follow its player");
        let player = self.player.take().ok_or_else(out_of_place)?;
        let verifier = StreamVerifier::new(stream, player);
        self.stream = Some(verifier.map_err(|why| BackupError::invalid(place, why))?);
        self.counts.streams += 1;
        Ok(())
    }

    fn add_player_event(&mut self, event: PlayerEventLine, place: &str) -> Result<(), BackupError> {
        let stream = self.stream.as_mut();
        let stream = stream.ok_or_else(|| BackupError::invalid(place, "a line without its stream"));
        stream?
            .apply_event(&event)
            .map_err(|why| BackupError::invalid(name_stream(event.player), why))?;
        self.player_events.push(event);
        self.counts.player_events += 1;
        Ok(())
    }

    fn add_board_score(&mut self, score: BoardScoreLine, place: &str) -> Result<(), BackupError> {
        let stream = self.stream.as_mut();
        let stream = stream.ok_or_else(|| BackupError::invalid(place, "a line without its stream"));
        let place = name_stream(score.player);
        let added = stream?.add_score(score);
        added.map_err(|why| BackupError::invalid(place, why))?;
        self.counts.board_scores += 1;
        Ok(())
    }

    async fn finish_stream(&mut self) -> Result<(), BackupError> {
        let Some(verifier) = self.stream.take() else {
            return Ok(());
        };
        let place = name_stream(verifier.player());
        let verified = verifier.finish();
        let verified = verified.map_err(|why| BackupError::invalid(place, why))?;
        self.target.add_stream(&verified.row).await?;
        let VerifiedStream {
            scores, is_public, ..
        } = verified;
        Ok(self.target.add_board_scores(&scores, is_public).await?)
    }

    async fn add_event(&mut self, event: EventLine, place: &str) -> Result<(), BackupError> {
        let definitions_max = self.counts.definitions.max(1);
        let verifier = self.current_raid(place)?;
        let raid = format!("raid {}", verifier.row.id);
        let definitions = event.definitions.unwrap_or(1).cast_unsigned();
        if definitions > definitions_max {
            let why = format!("event {}: definitions: are not in the file", event.seq);
            return Err(BackupError::invalid(raid, why));
        }
        let snapshot = verifier
            .apply_event(&event)
            .map_err(|why| BackupError::invalid(raid, why))?;
        if let Some(snapshot) = snapshot {
            self.target.add_snapshot(&snapshot).await?;
            self.snapshots_kept += 1;
        }
        self.events.push(event);
        self.counts.events += 1;
        Ok(())
    }

    fn current_raid(&mut self, place: &str) -> Result<&mut RaidVerifier, BackupError> {
        self.raid
            .as_mut()
            .ok_or_else(|| BackupError::invalid(place, "a line without its raid"))
    }

    /// Verifies the current stream or raid and writes the rows that wait.
    async fn flush(&mut self) -> Result<(), BackupError> {
        self.finish_stream().await?;
        self.finish_raid().await?;
        self.flush_rows().await
    }

    async fn finish_raid(&mut self) -> Result<(), BackupError> {
        self.flush_rows().await?;
        let Some(verifier) = self.raid.take() else {
            return Ok(());
        };
        let place = format!("raid {}", verifier.row.id);
        let verified = verifier
            .finish()
            .map_err(|why| BackupError::invalid(place, why))?;
        Ok(self
            .target
            .add_members(
                verified.id,
                &verified.members,
                &verified.former,
                verified.leader,
            )
            .await?)
    }

    async fn flush_rows(&mut self) -> Result<(), BackupError> {
        if !self.players.is_empty() {
            self.target
                .add_players(&std::mem::take(&mut self.players))
                .await?;
        }
        if !self.player_events.is_empty() {
            self.target
                .add_player_events(&std::mem::take(&mut self.player_events))
                .await?;
        }
        if let Some(verifier) = &self.raid
            && !self.events.is_empty()
        {
            self.target
                .add_events(
                    &verifier.row,
                    &with_earnings(&std::mem::take(&mut self.events)),
                )
                .await?;
        }
        if !self.sign_ins.is_empty() {
            self.target
                .add_sign_ins(&std::mem::take(&mut self.sign_ins))
                .await?;
        }
        if !self.bans.is_empty() {
            self.target
                .add_bans(&std::mem::take(&mut self.bans))
                .await?;
        }
        if !self.audit_entries.is_empty() {
            self.target
                .add_audit_entries(&std::mem::take(&mut self.audit_entries))
                .await?;
        }
        Ok(())
    }

    async fn finish(
        mut self,
        footer: &FooterLine,
        lineage: Option<&str>,
    ) -> Result<(), BackupError> {
        let FooterLine { blocks, sha256, .. } = footer.clone();
        let counted = FooterLine {
            blocks,
            sha256,
            ..self.counts
        };
        if counted != *footer {
            return Err(BackupError::invalid(
                "footer",
                "its counts do not match the lines of the file",
            ));
        }
        if let Some(player) = self.target.find_wrong_totals().await? {
            let why = "their totals are above what the ledger adds up to";
            return Err(BackupError::invalid(format!("player {player}"), why));
        }
        Ok(self.target.commit(&self.ids, lineage).await?)
    }
}
