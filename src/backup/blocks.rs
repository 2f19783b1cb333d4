//! Blocks of lines. Each block is a gzip member of its own, so that `zcat` reads the file and
//! damage can be located.
//!
//! A member has the shortest header that RFC 1952 allows, always the same ten bytes. The last block
//! is stored, not deflated, so there is only one way to write it, and a reader can check that it
//! was written that way.

use std::io::{self, Write};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use sha2::{Digest, Sha256};

/// The gzip header: magic, deflate, no flags, no time, no hints, unknown system.
pub(super) const MEMBER_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Minimum length of a block's text in bytes, except for the last two blocks. Lines are never
/// split.
const BLOCK_BYTES_MIN: usize = 256 * 1024;

/// Maximum length of a block's text in bytes; the longest line, a snapshot, is far below it.
pub(super) const BLOCK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Writer that collects lines into blocks.
pub(super) struct BlockWriter<W> {
    out: W,
    text: Vec<u8>,
    blocks: u64,
    hash: Sha256,
}

impl<W: Write> BlockWriter<W> {
    pub(super) fn new(out: W) -> BlockWriter<W> {
        BlockWriter {
            out,
            text: Vec::with_capacity(BLOCK_BYTES_MIN * 2),
            blocks: 0,
            hash: Sha256::new(),
        }
    }

    /// Adds a line, and writes the block when it is full.
    pub(super) fn write_line(&mut self, line: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.text, line)?;
        self.text.push(b'\n');
        if self.text.len() >= BLOCK_BYTES_MIN {
            self.write_block()
        } else {
            Ok(())
        }
    }

    /// Writes the remaining lines, then the line that `last` makes from the number of blocks and
    /// their hash.
    pub(super) fn finish<L: serde::Serialize>(
        mut self,
        last: impl FnOnce(u64, String) -> L,
    ) -> io::Result<W> {
        if !self.text.is_empty() {
            self.write_block()?;
        }
        let mut line = serde_json::to_vec(&last(
            self.blocks,
            super::format::hex(&self.hash.finalize()),
        ))?;
        line.push(b'\n');
        self.out.write_all(&stored_block(&line)?)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_block(&mut self) -> io::Result<()> {
        let mut encoder = DeflateEncoder::new(MEMBER_HEADER.to_vec(), Compression::default());
        encoder.write_all(&self.text)?;
        let mut block = encoder.finish()?;
        block.extend(trailer(&self.text));
        self.hash.update(&block);
        self.out.write_all(&block)?;
        self.text.clear();
        self.blocks += 1;
        Ok(())
    }
}

/// Returns a block whose text is stored without compression; fails if the text exceeds 65,535
/// bytes.
pub(super) fn stored_block(text: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(text.len()).map_err(io::Error::other)?;
    let mut block = MEMBER_HEADER.to_vec();
    block.push(1); // the last part of the member, stored
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend(text);
    block.extend(trailer(text));
    Ok(block)
}

/// Returns a member's trailer: CRC-32 and length of its text.
pub(super) fn trailer(text: &[u8]) -> [u8; 8] {
    let mut crc = Crc::new();
    crc.update(text);
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc.sum().to_le_bytes());
    trailer[4..].copy_from_slice(&crc.amount().to_le_bytes());
    trailer
}
