//! To which callers a player's profile is shown.

use raidhall_protocol::UnixMillis;
use serde_json::Value;

use super::fold::PlayerFold;

/// The caller who asks for a profile.
#[derive(Debug, Clone, Copy)]
pub enum ProfileViewer<'a> {
    /// A player, with the fold of their stream.
    Player(&'a PlayerFold),
    /// The host app's backend or an operator, to which all profiles are shown.
    Privileged,
}

/// The players who see a profile, besides its own player.
enum ProfileAudience {
    /// Companions, the members of the raids that the player is in, and every player if the player is
    /// listed on a leaderboard.
    Public,
    Companions,
    Hidden,
}

/// Returns whether a player's profile is shown to a caller.
pub fn is_profile_shown(
    player: &PlayerFold,
    viewer: ProfileViewer<'_>,
    is_on_board: bool,
    now: UnixMillis,
) -> bool {
    let ProfileViewer::Player(viewer) = viewer else {
        return true;
    };
    if viewer.state.id == player.state.id {
        return true;
    }
    match audience(player) {
        ProfileAudience::Public => {
            is_on_board || is_in_same_raid(player, viewer) || player.is_companion_of(viewer, now)
        }
        ProfileAudience::Companions => player.is_companion_of(viewer, now),
        ProfileAudience::Hidden => false,
    }
}

/// Returns whether players see a player on leaderboards, by the setting `boards`. A value that this
/// release does not know hides the player.
pub fn is_listed_on_boards(boards: Option<&Value>) -> bool {
    boards.is_none_or(|value| value == "public")
}

/// Returns whether a value of the setting `boards` lets companions see the player on leaderboards.
pub(super) fn is_shown_to_companions(boards: &Value) -> bool {
    boards == "public" || boards == "companions"
}

/// Returns what the player has set. A value that this release does not know hides the profile.
fn audience(player: &PlayerFold) -> ProfileAudience {
    let Some(setting) = player.state.settings.get("profile") else {
        return ProfileAudience::Public;
    };
    match setting.value.as_str() {
        Some("public") => ProfileAudience::Public,
        Some("companions") => ProfileAudience::Companions,
        _ => ProfileAudience::Hidden,
    }
}

/// Returns whether both are members of a raid that has not ended.
fn is_in_same_raid(player: &PlayerFold, viewer: &PlayerFold) -> bool {
    let mut raids = player.state.raids.iter();
    raids.any(|one| {
        let mut others = viewer.state.raids.iter();
        others.any(|other| other.raid == one.raid)
    })
}
