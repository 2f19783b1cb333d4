//! Cursors of leaderboards.

use data_encoding::BASE64URL_NOPAD;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, Seq, UnixMillis};

use crate::progression::BoardWindowId;
use crate::store::{BoardPosition, Result, Store};

/// Where a part of a window ends. A position also has the raid in which the player earned XP last,
/// which is not for everyone, so it is looked up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BoardCursor {
    /// Number of the window.
    pub(super) number: i64,
    score: u64,
    reached_at: UnixMillis,
    player: PlayerId,
}

impl BoardCursor {
    /// Returns the cursor of a part that ends with a position.
    pub(super) fn behind(last: &BoardPosition, number: i64) -> BoardCursor {
        BoardCursor {
            number,
            score: last.score,
            reached_at: last.reached_at,
            player: last.player,
        }
    }

    /// Returns the position behind which the next part begins. If the player's score has moved since,
    /// it is the first one with that score and time, so that no score is skipped.
    pub(super) async fn position(
        &self,
        store: &dyn Store,
        window: &BoardWindowId,
    ) -> Result<BoardPosition> {
        let found = store.scores_in_window(window, &[self.player]).await?;
        let found = found.first().map(|it| it.position);
        let is_same =
            |it: &BoardPosition| it.score == self.score && it.reached_at == self.reached_at;
        Ok(found.filter(is_same).unwrap_or(BoardPosition {
            score: self.score,
            reached_at: self.reached_at,
            reached_place: RaidPlace {
                raid: 1_u64.try_into().expect("an id"),
                seq: Seq::ZERO,
            },
            player: self.player,
        }))
    }

    /// Encodes the cursor as text for a URL.
    pub(super) fn encode(&self) -> String {
        let numbers = [
            self.number.cast_unsigned(),
            self.score,
            self.reached_at.0.cast_unsigned(),
            self.player.get(),
        ];
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Decodes a cursor; `None` if the text is none.
    pub(super) fn decode(text: &str) -> Option<BoardCursor> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().copied().map(u64::from_be_bytes).collect();
        let [number, score, reached_at, player] = numbers.try_into().ok()?;
        if !rest.is_empty() || i64::try_from(score).is_err() {
            return None;
        }
        Some(BoardCursor {
            number: number.cast_signed(),
            score,
            reached_at: UnixMillis(reached_at.cast_signed()),
            player: player.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boards_cursor_survives_a_round_trip_as_text() {
        let cursor = BoardCursor {
            number: -3,
            score: 40,
            reached_at: UnixMillis(1_767_225_600_000),
            player: 5_u64.try_into().expect("an id"),
        };
        let text = cursor.encode();
        assert_eq!(BoardCursor::decode(&text), Some(cursor));
        for faulty in ["", "é", &text[1..], &text[..text.len() - 4]] {
            assert_eq!(BoardCursor::decode(faulty), None, "{faulty:?}");
        }
    }
}
