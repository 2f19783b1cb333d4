//! A meter of what a client sends, below the WebSocket layer: bytes, and frames of every kind.
//! Pings, and fragments of a message that never ends, would pass a limit that counts only messages.
//!
//! Nothing is dropped: a client that sends too much is not read for a while, which slows only that
//! client. One that never stops is disconnected.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::rate::Rate;
use crate::telemetry::ExcessKind;

/// The period whose allowance a client may use in one burst.
const BURST_DURATION: Duration = Duration::from_secs(2);
/// The shortest pause for a client that has used up an allowance, so that a fair share of it is
/// back afterwards.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Pauses in a row before the connection is closed. The count restarts once both allowances are
/// full again.
const CONSECUTIVE_PAUSES_MAX: u32 = 6;

/// The receive limits of one connection: frames and bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceiveRates {
    frames: Rate,
    bytes: Rate,
}

impl ReceiveRates {
    /// Takes the sustained rates, per second; a burst may be twice as large.
    pub(super) fn new(frames: u32, bytes: u32) -> Self {
        let rate = |count: u32| Rate::new(count.saturating_mul(2), BURST_DURATION);
        Self {
            frames: rate(frames),
            bytes: rate(bytes),
        }
    }
}

/// The meter's decision on whether to go on reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadDecision {
    Read,
    /// Read nothing for this long: the client exceeded this limit.
    Pause(ExcessKind, Duration),
    /// Close the connection: the client has exceeded its limits for too long.
    Flood,
}

/// The count of frames and bytes that one connection has received.
pub(super) struct ReceiveMeter {
    rates: ReceiveRates,
    frames_full_at: Instant,
    bytes_full_at: Instant,
    consecutive_pauses: u32,
    scanner: FrameScanner,
    pub(super) bytes_received: u64,
}

impl ReceiveMeter {
    pub(super) fn new(rates: ReceiveRates) -> Self {
        let now = Instant::now();
        let scanner = FrameScanner::default();
        Self {
            rates,
            frames_full_at: now,
            bytes_full_at: now,
            consecutive_pauses: 0,
            scanner,
            bytes_received: 0,
        }
    }

    /// Counts the bytes that were read at `now`, and decides whether to go on.
    pub(super) fn count(&mut self, bytes: &[u8], now: Instant) -> ReadDecision {
        if self.frames_full_at.max(self.bytes_full_at) <= now {
            self.consecutive_pauses = 0;
        }
        self.bytes_received += bytes.len() as u64;
        let ReceiveRates {
            frames,
            bytes: rate,
        } = self.rates;
        self.frames_full_at =
            frames.charge_unchecked(self.frames_full_at, now, self.scanner.count_frames(bytes));
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.bytes_full_at = rate.charge_unchecked(self.bytes_full_at, now, count);
        let excess = [
            (
                ExcessKind::Frames,
                frames.time_until_available(self.frames_full_at, now),
            ),
            (
                ExcessKind::Bytes,
                rate.time_until_available(self.bytes_full_at, now),
            ),
        ];
        let Some((kind, wait)) = excess.into_iter().max_by_key(|(_, wait)| *wait) else {
            return ReadDecision::Read;
        };
        if wait.is_zero() {
            return ReadDecision::Read;
        }
        self.consecutive_pauses += 1;
        if self.consecutive_pauses > CONSECUTIVE_PAUSES_MAX {
            ReadDecision::Flood
        } else {
            ReadDecision::Pause(kind, wait + PAUSE_MIN)
        }
    }
}

/// A scanner that finds where frames begin (RFC 6455 section 5.2). It does not validate them;
/// tungstenite does.
#[derive(Default)]
struct FrameScanner {
    /// Bytes of the frame's header that have been read, and their total as far as it is known.
    header_bytes_read: u8,
    header_bytes: u8,
    /// The position in the header at which the extended length ends and the mask begins.
    length_end: u8,
    /// The payload's length as far as it has been read, then the payload bytes that have not
    /// arrived yet.
    payload_bytes: u64,
}

/// The bytes of a header before the extended length.
const FIXED_HEADER_BYTES: u8 = 2;
const MASK_BYTES: u8 = 4;

impl FrameScanner {
    /// Counts the frames that begin in the next bytes.
    fn count_frames(&mut self, mut bytes: &[u8]) -> u32 {
        let mut begun = 0;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.header_bytes_read == self.header_bytes && self.payload_bytes > 0 {
                let skipped = bytes
                    .len()
                    .min(usize::try_from(self.payload_bytes).unwrap_or(usize::MAX));
                self.payload_bytes -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            if self.header_bytes_read == self.header_bytes {
                *self = Self {
                    header_bytes: FIXED_HEADER_BYTES,
                    ..Self::default()
                };
                begun += 1;
            }
            self.read_header_byte(byte);
            bytes = rest;
        }
        begun
    }

    fn read_header_byte(&mut self, byte: u8) {
        let position = self.header_bytes_read;
        let mask = if byte & 0x80 == 0 { 0 } else { MASK_BYTES };
        self.header_bytes_read += 1;
        if position == 1 {
            let extended = match byte & 0x7f {
                126 => 2,
                127 => 8,
                length => {
                    self.payload_bytes = u64::from(length);
                    0
                }
            };
            self.header_bytes = FIXED_HEADER_BYTES + extended + mask;
            self.length_end = FIXED_HEADER_BYTES + extended;
        } else if position > 1 && position < self.length_end {
            self.payload_bytes = self.payload_bytes << 8 | u64::from(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn frame(payload: usize) -> Vec<u8> {
        let mut frame = match payload {
            0..126 => vec![0x89, 0x80 | payload as u8],
            126..65_536 => vec![0x82, 0x80 | 126, (payload >> 8) as u8, payload as u8],
            _ => [&[0x82, 0x80 | 127][..], &(payload as u64).to_be_bytes()].concat(),
        };
        frame.extend([1, 2, 3, 4]);
        frame.resize(frame.len() + payload, 0xff);
        frame
    }

    #[test]
    fn frames_are_counted_however_the_bytes_are_split() {
        let stream: Vec<u8> = [0, 1, 125, 126, 300, 65_535, 65_536, 0, 0]
            .map(frame)
            .concat();
        for size in [1, 2, 3, 7, 1024, stream.len()] {
            let mut scanner = FrameScanner::default();
            let found: u32 = stream
                .chunks(size)
                .map(|chunk| scanner.count_frames(chunk))
                .sum();
            assert_eq!(found, 9, "in pieces of {size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_burst_passes_and_endless_excess_is_a_flood() {
        let mut meter = ReceiveMeter::new(ReceiveRates::new(100, 1_000_000));
        let empty = frame(0);
        for _ in 0..200 {
            assert_eq!(meter.count(&empty, Instant::now()), ReadDecision::Read);
        }
        for _ in 0..CONSECUTIVE_PAUSES_MAX {
            let ReadDecision::Pause(ExcessKind::Frames, wait) =
                meter.count(&empty.repeat(170), Instant::now())
            else {
                panic!("beyond the allowance")
            };
            assert!(wait > PAUSE_MIN, "{wait:?}");
            advance(wait).await;
        }
        assert_eq!(
            meter.count(&empty.repeat(170), Instant::now()),
            ReadDecision::Flood
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pauses_is_not_closed_as_a_flood() {
        let mut meter = ReceiveMeter::new(ReceiveRates::new(100, 1_000_000));
        for _ in 0..100 {
            let decision = meter.count(&frame(0).repeat(250), Instant::now());
            assert!(
                matches!(decision, ReadDecision::Pause(ExcessKind::Frames, _)),
                "{decision:?}"
            );
            advance(SECOND * 3).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_of_a_single_frame_count_toward_the_limit() {
        let mut meter = ReceiveMeter::new(ReceiveRates::new(100, 1_000));
        assert_eq!(
            meter.count(&frame(1_990)[..1_990], Instant::now()),
            ReadDecision::Read
        );
        let decision = meter.count(&[0; 100], Instant::now());
        assert!(
            matches!(decision, ReadDecision::Pause(ExcessKind::Bytes, _)),
            "{decision:?}"
        );
        assert_eq!(meter.bytes_received, 2_090);
    }
}
