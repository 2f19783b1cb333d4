//! Reading a backup, block by block: every line that it gives stood in a block whose checksum was right, and the footer
//! that it gives last proves all that came before.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::DeflateDecoder;
use sha2::{Digest, Sha256};

use super::blocks::{BLOCK_BYTES_MAX, MEMBER_HEADER, stored_block, trailer};
use super::format::{BackupLine, FooterLine, hex};

/// Longer than any line is: the largest, a snapshot, has some hundred KiB. What a longer one could become in memory is far
/// more than it is.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a file lets be read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Where a file is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("damaged backup: block {block}, at byte {offset}: {reason}")]
pub struct FileFault {
    /// Counted from 1.
    pub block: u64,
    /// Where that block begins.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// The lines of a backup.
pub(super) struct LineReader<R> {
    input: HashingReader<BufReader<R>>,
    text: Vec<u8>,
    /// Of the text: what has been given.
    text_offset: usize,
    /// Of the block that the text is from.
    line: u64,
    blocks: u64,
    offset: u64,
    /// Of all bytes before that block.
    hash_before_block: Sha256,
}

impl<R: Read> LineReader<R> {
    pub(super) fn new(input: R) -> LineReader<R> {
        LineReader {
            input: HashingReader {
                inner: BufReader::with_capacity(BUFFER_BYTES, input),
                hash: Sha256::new(),
                bytes_read: 0,
            },
            text: Vec::new(),
            text_offset: 0,
            line: 0,
            blocks: 0,
            offset: 0,
            hash_before_block: Sha256::new(),
        }
    }

    /// The next line. After the footer, which has been checked, there is none.
    pub(super) fn next_line(&mut self) -> Result<BackupLine, FileFault> {
        if self.text_offset == self.text.len() {
            self.read_block()?;
        }
        let rest = &self.text[self.text_offset..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(self.fault("its last line has no end"));
        };
        if length > LINE_BYTES_MAX {
            return Err(self.fault(format!("line {} is longer than any line", self.line + 1)));
        }
        let entry = serde_json::from_slice(&rest[..length]);
        self.text_offset += length + 1;
        self.line += 1;
        let entry = entry.map_err(|error| self.fault(format!("line {}: {error}", self.line)))?;
        if let BackupLine::Footer(footer) = &entry {
            self.verify_footer(footer)?;
        }
        Ok(entry)
    }

    /// The place of the line given last.
    pub(super) fn location(&self) -> String {
        format!("block {}, line {}", self.blocks, self.line)
    }

    fn read_block(&mut self) -> Result<(), FileFault> {
        self.blocks += 1;
        self.offset = self.input.bytes_read;
        self.hash_before_block = self.input.hash.clone();
        (self.line, self.text_offset) = (0, 0);
        self.text.clear();
        self.read_member().map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.fault("the file ends here: it is not whole"),
            _ => self.fault(error),
        })
    }

    fn read_member(&mut self) -> io::Result<()> {
        let mut member = [0; MEMBER_HEADER.len()];
        self.input.read_exact(&mut member)?;
        if member != MEMBER_HEADER {
            return Err(io::Error::other("no block begins here"));
        }
        let limit = BLOCK_BYTES_MAX as u64 + 1;
        DeflateDecoder::new(&mut self.input)
            .take(limit)
            .read_to_end(&mut self.text)?;
        if self.text.len() > BLOCK_BYTES_MAX {
            return Err(io::Error::other("it is longer than any block"));
        }
        let mut found = [0; 8];
        self.input.read_exact(&mut found)?;
        if found != trailer(&self.text) {
            return Err(io::Error::other("its checksum does not fit"));
        }
        if self.text.is_empty() {
            return Err(io::Error::other("it is empty"));
        }
        Ok(())
    }

    /// The footer stands alone in its block, in the one way that it can be written, fits what came before, and is the
    /// end.
    fn verify_footer(&mut self, footer: &FooterLine) -> Result<(), FileFault> {
        if footer.blocks != self.blocks - 1 {
            return Err(self.fault(format!("it counts {} blocks before it", footer.blocks)));
        }
        if footer.sha256 != hex(&self.hash_before_block.clone().finalize()) {
            return Err(self.fault("what came before it has been altered"));
        }
        let rewritten =
            serde_json::to_vec(&BackupLine::Footer(footer.clone())).map_err(io::Error::from);
        let rewritten = rewritten.and_then(|mut line| {
            line.push(b'\n');
            stored_block(&line)
        });
        let mut whole = self.hash_before_block.clone();
        whole.update(rewritten.map_err(|error| self.fault(error))?);
        if whole.finalize() != self.input.hash.clone().finalize() {
            return Err(self.fault("it was not written so"));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.fault("something follows the end")),
            Err(error) => Err(self.fault(error)),
        }
    }

    fn fault(&self, why: impl ToString) -> FileFault {
        FileFault {
            block: self.blocks,
            offset: self.offset,
            reason: why.to_string(),
        }
    }
}

/// Counts and hashes what is read through it.
struct HashingReader<R> {
    inner: R,
    hash: Sha256,
    bytes_read: u64,
}

impl<R: BufRead> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes_read += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for HashingReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Ok(buffer) = self.inner.fill_buf() {
            self.hash.update(&buffer[..count]);
        }
        self.bytes_read += count as u64;
        self.inner.consume(count);
    }
}
