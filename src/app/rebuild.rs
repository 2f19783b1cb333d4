//! The command that checks players' streams: `rebuild players`.

use std::io;

use anyhow::Context;
use raidhall_protocol::PlayerId;

use super::{StartError, machine_time, open};
use crate::config::Config;
use crate::rebuild::{Findings, Options, Rebuild};

/// Compares players' streams with the raids' events, and repairs them unless `is_check` is set.
/// Prints what it finds. Returns whether no difference remains. A server may be running.
///
/// # Errors
///
/// See [`StartError`]; [`StartError::Argument`] if there is no such player.
pub async fn rebuild_players(
    config: &Config,
    player: Option<u64>,
    is_check: bool,
) -> Result<bool, StartError> {
    let from_store = |error| StartError::from_store(open::database(config), error);
    let player = player.map(PlayerId::try_from).transpose();
    let player = player.context("read the player's id")?;
    let store = open::current_store(config).await?;
    if let Some(player) = player {
        let stream = store.load_stream(player, None).await.map_err(from_store)?;
        if stream.is_none() {
            let what = format!("there is no player {player}, or they were erased");
            return Err(StartError::Argument(what));
        }
    }
    let options = Options {
        player,
        is_check,
        now: machine_time()?,
    };
    let mut findings = Findings::new(Box::new(io::stdout()));
    let run = Rebuild::run(store, options, &mut findings);
    let run = run.await.map_err(from_store);
    let is_clean = findings.finish().context("print what was found")?;
    run.map(|()| is_clean)
}
