//! Reading a backup, block by block: every line that it gives stood in a block whose checksum was right, and the footer
//! that it gives last proves all that came before.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::DeflateDecoder;
use sha2::{Digest, Sha256};

use super::file::{BLOCK_MAX, MEMBER, stored, trailer};
use super::form::{Entry, Footer, hex};

/// Longer than any line is: the largest, a snapshot, has some hundred KiB. What a longer one could become in memory is far
/// more than it is.
const LINE_MAX: usize = 8 * 1024 * 1024;
/// What a file lets be read at once.
const BUFFER: usize = 64 * 1024;

/// Where a file is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("damaged backup: block {block}, at byte {offset}: {why}")]
pub struct FileFault {
    /// Counted from 1.
    pub block: u64,
    /// Where that block begins.
    pub offset: u64,
    /// What is wrong with it.
    pub why: String,
}

/// The lines of a backup.
pub(super) struct Lines<R> {
    input: Tally<BufReader<R>>,
    text: Vec<u8>,
    /// Of the text: what has been given.
    at: usize,
    /// Of the block that the text is from.
    line: u64,
    blocks: u64,
    offset: u64,
    /// Of all bytes before that block.
    before: Sha256,
}

impl<R: Read> Lines<R> {
    pub(super) fn of(input: R) -> Lines<R> {
        Lines {
            input: Tally {
                inner: BufReader::with_capacity(BUFFER, input),
                hash: Sha256::new(),
                read: 0,
            },
            text: Vec::new(),
            at: 0,
            line: 0,
            blocks: 0,
            offset: 0,
            before: Sha256::new(),
        }
    }

    /// The next line. After the footer, which has been checked, there is none.
    pub(super) fn next(&mut self) -> Result<Entry, FileFault> {
        if self.at == self.text.len() {
            self.block()?;
        }
        let rest = &self.text[self.at..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(self.fault("its last line has no end"));
        };
        if length > LINE_MAX {
            return Err(self.fault(format!("line {} is longer than any line", self.line + 1)));
        }
        let entry = serde_json::from_slice(&rest[..length]);
        self.at += length + 1;
        self.line += 1;
        let entry = entry.map_err(|error| self.fault(format!("line {}: {error}", self.line)))?;
        if let Entry::Footer(footer) = &entry {
            self.prove(footer)?;
        }
        Ok(entry)
    }

    /// The place of the line given last.
    pub(super) fn place(&self) -> String {
        format!("block {}, line {}", self.blocks, self.line)
    }

    fn block(&mut self) -> Result<(), FileFault> {
        self.blocks += 1;
        self.offset = self.input.read;
        self.before = self.input.hash.clone();
        (self.line, self.at) = (0, 0);
        self.text.clear();
        self.member().map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.fault("the file ends here: it is not whole"),
            _ => self.fault(error),
        })
    }

    fn member(&mut self) -> io::Result<()> {
        let mut member = [0; MEMBER.len()];
        self.input.read_exact(&mut member)?;
        if member != MEMBER {
            return Err(io::Error::other("no block begins here"));
        }
        let limit = BLOCK_MAX as u64 + 1;
        DeflateDecoder::new(&mut self.input)
            .take(limit)
            .read_to_end(&mut self.text)?;
        if self.text.len() > BLOCK_MAX {
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
    fn prove(&mut self, footer: &Footer) -> Result<(), FileFault> {
        if footer.blocks != self.blocks - 1 {
            return Err(self.fault(format!("it counts {} blocks before it", footer.blocks)));
        }
        if footer.sha256 != hex(&self.before.clone().finalize()) {
            return Err(self.fault("what came before it has been altered"));
        }
        let rewritten = serde_json::to_vec(&Entry::Footer(footer.clone())).map_err(io::Error::from);
        let rewritten = rewritten.and_then(|mut line| {
            line.push(b'\n');
            stored(&line)
        });
        let mut whole = self.before.clone();
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
            why: why.to_string(),
        }
    }
}

/// Counts and hashes what is read through it.
struct Tally<R> {
    inner: R,
    hash: Sha256,
    read: u64,
}

impl<R: BufRead> Read for Tally<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.read += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Tally<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Ok(buffer) = self.inner.fill_buf() {
            self.hash.update(&buffer[..count]);
        }
        self.read += count as u64;
        self.inner.consume(count);
    }
}
