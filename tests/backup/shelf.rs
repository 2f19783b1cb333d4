//! A database that is only the lines of a backup, to be altered between an import and an export.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use raidhall::backup::form::{Ban, Deed, Event, Ids, Player, Raid, SignIn, Snapshot};
use raidhall::backup::{BackupError, Imported, Source, Target, import};
use raidhall::store::Result;
use raidhall_protocol::{PlayerId, RaidId};

/// What was imported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shelf {
    pub lineage: String,
    pub ids: Ids,
    pub players: Vec<Player>,
    pub raids: Vec<Raid>,
    pub snapshots: Vec<Snapshot>,
    pub events: Vec<Event>,
    pub sign_ins: Vec<SignIn>,
    pub bans: Vec<Ban>,
    pub deeds: Vec<Deed>,
    pub members: Vec<(RaidId, Vec<PlayerId>)>,
}

impl Shelf {
    /// What a file holds, if it is accepted.
    pub async fn read(file: &[u8]) -> Result<(Shelf, Imported), BackupError> {
        let shelf = Arc::new(Mutex::new(None));
        let filling = Filling {
            shelf: Shelf::default(),
            done: shelf.clone(),
        };
        let imported = import(file, Box::new(filling), true).await;
        let shelf = shelf.lock().take();
        match imported {
            Ok(imported) => Ok((shelf.expect("it was finished"), imported)),
            Err(error) => {
                assert_eq!(shelf, None, "finished in spite of {error}");
                Err(error)
            }
        }
    }
}

struct Filling {
    shelf: Shelf,
    done: Arc<Mutex<Option<Shelf>>>,
}

fn page<T: Clone>(rows: &[T], wanted: impl Fn(&T) -> bool, limit: u32) -> Vec<T> {
    rows.iter()
        .filter(|row| wanted(row))
        .take(limit as usize)
        .cloned()
        .collect()
}

#[async_trait]
impl Source for Shelf {
    fn kind(&self) -> &'static str {
        "shelf"
    }

    async fn lineage(&mut self) -> Result<String> {
        Ok(self.lineage.clone())
    }

    async fn ids(&mut self) -> Result<Ids> {
        Ok(self.ids)
    }

    async fn players(&mut self, after: i64, limit: u32) -> Result<Vec<Player>> {
        Ok(page(&self.players, |player| player.id > after, limit))
    }

    async fn raids(&mut self, after: i64, limit: u32) -> Result<Vec<Raid>> {
        Ok(page(&self.raids, |raid| raid.id > after, limit))
    }

    async fn snapshot(&mut self, raid: i64) -> Result<Option<Snapshot>> {
        Ok(self
            .snapshots
            .iter()
            .find(|snapshot| snapshot.raid == raid)
            .cloned())
    }

    async fn events(&mut self, raid: &Raid, after: i64, limit: u32) -> Result<Vec<Event>> {
        Ok(page(
            &self.events,
            |event| event.raid == raid.id && event.seq > after,
            limit,
        ))
    }

    async fn sign_ins(&mut self, after: &str, limit: u32) -> Result<Vec<SignIn>> {
        Ok(page(
            &self.sign_ins,
            |sign_in| sign_in.id.as_str() > after,
            limit,
        ))
    }

    async fn bans(&mut self, after: i64, limit: u32) -> Result<Vec<Ban>> {
        Ok(page(&self.bans, |ban| ban.player > after, limit))
    }

    async fn deeds(&mut self, after: i64, limit: u32) -> Result<Vec<Deed>> {
        // Their ids are not in a file: here their places are.
        let from = usize::try_from(after).expect("a place");
        let rest = self.deeds.iter().zip(1..).skip(from).take(limit as usize);
        Ok(rest.map(|(deed, id)| Deed { id, ..deed.clone() }).collect())
    }
}

#[async_trait]
impl Target for Filling {
    async fn players(&mut self, rows: &[Player]) -> Result<()> {
        self.shelf.players.extend_from_slice(rows);
        Ok(())
    }

    async fn raid(&mut self, raid: &Raid) -> Result<()> {
        self.shelf.raids.push(raid.clone());
        Ok(())
    }

    async fn snapshot(&mut self, row: &Snapshot) -> Result<()> {
        self.shelf.snapshots.push(row.clone());
        Ok(())
    }

    async fn events(&mut self, _: &Raid, rows: &[Event]) -> Result<()> {
        self.shelf.events.extend_from_slice(rows);
        Ok(())
    }

    async fn members(&mut self, raid: RaidId, members: &[PlayerId], _: &[PlayerId]) -> Result<()> {
        self.shelf.members.push((raid, members.to_vec()));
        Ok(())
    }

    async fn sign_ins(&mut self, rows: &[SignIn]) -> Result<()> {
        self.shelf.sign_ins.extend_from_slice(rows);
        Ok(())
    }

    async fn bans(&mut self, rows: &[Ban]) -> Result<()> {
        self.shelf.bans.extend_from_slice(rows);
        Ok(())
    }

    async fn deeds(&mut self, rows: &[Deed]) -> Result<()> {
        self.shelf.deeds.extend_from_slice(rows);
        Ok(())
    }

    async fn wrong_totals(&mut self) -> Result<Option<i64>> {
        Ok(None)
    }

    async fn finish(mut self: Box<Self>, ids: &Ids, lineage: Option<&str>) -> Result<()> {
        (self.shelf.ids, self.shelf.lineage) = (*ids, lineage.unwrap_or("new").to_owned());
        *self.done.lock() = Some(self.shelf);
        Ok(())
    }
}
