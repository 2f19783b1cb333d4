//! Cursors of leaderboards.

use data_encoding::BASE64URL_NOPAD;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{Seq, UnixMillis};

use crate::store::BoardPosition;

/// Where a part of a window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BoardCursor {
    /// Number of the window.
    pub(super) number: i64,
    /// The last score of the part.
    pub(super) last: BoardPosition,
}

impl BoardCursor {
    /// Encodes the cursor as text for a URL.
    pub(super) fn encode(&self) -> String {
        let last = &self.last;
        let numbers = [
            self.number.cast_unsigned(),
            last.score,
            last.reached_at.0.cast_unsigned(),
            last.reached_place.raid.get(),
            last.reached_place.seq.0,
            last.player.get(),
        ];
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Decodes a cursor; `None` if the text is none.
    pub(super) fn decode(text: &str) -> Option<BoardCursor> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().copied().map(u64::from_be_bytes).collect();
        let [number, score, reached_at, raid, seq, player] = numbers.try_into().ok()?;
        let is_storable = [score, seq].into_iter().all(|it| i64::try_from(it).is_ok());
        if !rest.is_empty() || !is_storable {
            return None;
        }
        Some(BoardCursor {
            number: number.cast_signed(),
            last: BoardPosition {
                score,
                reached_at: UnixMillis(reached_at.cast_signed()),
                reached_place: RaidPlace {
                    raid: raid.try_into().ok()?,
                    seq: Seq(seq),
                },
                player: player.try_into().ok()?,
            },
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
            last: BoardPosition {
                score: 40,
                reached_at: UnixMillis(1_767_225_600_000),
                reached_place: RaidPlace {
                    raid: 7_u64.try_into().expect("an id"),
                    seq: Seq(124),
                },
                player: 5_u64.try_into().expect("an id"),
            },
        };
        let text = cursor.encode();
        assert_eq!(BoardCursor::decode(&text), Some(cursor));
        for faulty in ["", "é", &text[1..], &text[..text.len() - 4]] {
            assert_eq!(BoardCursor::decode(faulty), None, "{faulty:?}");
        }
    }
}
