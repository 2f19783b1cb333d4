//! Reader of a backup, block by block. **Every line that it returns is from a block whose checksum
//! was right, and the footer, which it returns last, proves all lines before it.**

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::DeflateDecoder;
use sha2::{Digest, Sha256};

use super::blocks::{BLOCK_BYTES_MAX, MEMBER_HEADER, stored_block, trailer};
use super::format::{BackupLine, FooterLine, hex};

/// Maximum length of a line in bytes. The longest line, a snapshot, has some hundred KiB. The limit
/// matters because a longer line could take far more memory when it is parsed.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Size of the buffer in front of the file.
const BUFFER_BYTES: usize = 64 * 1024;
/// The first bytes of every backup's text.
const TEXT_BEGIN: &[u8] = br#"{"header":{"format":"raidhall-backup","#;

/// Damage of a backup file, and where it is.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: block {block}, at byte {offset}: {reason}",
    if *is_backup { "damaged backup" } else { "not a Raidhall backup, or its beginning is damaged" }
)]
pub struct FileFault {
    /// Whether the file begins as a backup does.
    pub is_backup: bool,
    /// Number of the damaged block, from 1.
    pub block: u64,
    /// Offset of the block in the file, in bytes.
    pub offset: u64,
    /// What is wrong with the block.
    pub reason: String,
}

/// Reader that returns the lines of a backup.
pub(super) struct LineReader<R> {
    input: HashingReader<BufReader<R>>,
    text: Vec<u8>,
    /// How much of `text` has been returned.
    text_offset: usize,
    /// Number of the last returned line in its block.
    line: u64,
    blocks: u64,
    offset: u64,
    /// Hash of all bytes before the current block.
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

    /// Returns the next line. The footer is the last line, and is verified before it is returned.
    pub(super) fn next_line(&mut self) -> Result<BackupLine, FileFault> {
        if self.text_offset == self.text.len() {
            self.read_block()?;
        }
        let rest = &self.text[self.text_offset..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(self.fault("its last line has no line feed"));
        };
        if length > LINE_BYTES_MAX {
            return Err(self.fault(format!("line {} exceeds the maximum length", self.line + 1)));
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

    /// Returns the position of the last returned line.
    pub(super) fn location(&self) -> String {
        format!("block {}, line {}", self.blocks, self.line)
    }

    fn read_block(&mut self) -> Result<(), FileFault> {
        self.blocks += 1;
        self.offset = self.input.bytes_read;
        self.hash_before_block = self.input.hash.clone();
        self.line = 0;
        self.text_offset = 0;
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
            return Err(io::Error::other("it exceeds the maximum length"));
        }
        let mut found = [0; 8];
        self.input.read_exact(&mut found)?;
        if found != trailer(&self.text) {
            return Err(io::Error::other("its checksum does not match"));
        }
        if self.text.is_empty() {
            return Err(io::Error::other("it is empty"));
        }
        Ok(())
    }

    /// Verifies that the footer is alone in its block, is encoded in the only valid way, matches
    /// all bytes before it, and ends the file.
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
            return Err(self.fault("its encoding is not the one of a footer"));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.fault("something follows the end")),
            Err(error) => Err(self.fault(error)),
        }
    }

    /// Returns a fault of the current block.
    pub(super) fn fault(&self, why: impl ToString) -> FileFault {
        FileFault {
            is_backup: self.blocks > 1 || self.text.starts_with(TEXT_BEGIN),
            block: self.blocks,
            offset: self.offset,
            reason: why.to_string(),
        }
    }
}

/// Reader that counts and hashes the bytes that pass through it.
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

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::super::blocks::BlockWriter;
    use super::*;

    const HEADER: &str = r#"{"header":{"format":"raidhall-backup","version":1,"release":"0.2.1","made_at":5,"database":"sqlite","lineage":"9f2c","sign_ins":true}}"#;
    const COUNTS: &str = r#""players":0,"raids":0,"events":0,"sign_ins":0,"bans":0,"deeds":0"#;

    /// The footer is encoded again to be compared, and version 1 counts no streams in it.
    #[test]
    fn a_file_of_version_1_is_read() {
        let raw = |line: String| RawValue::from_string(line).expect("JSON");
        let mut out = BlockWriter::new(Vec::new());
        out.write_line(&raw(HEADER.to_owned())).expect("write");
        let footer = |blocks, sha256| {
            raw(format!(
                r#"{{"footer":{{{COUNTS},"blocks":{blocks},"sha256":"{sha256}"}}}}"#
            ))
        };
        let file = out.finish(footer).expect("write");
        let mut lines = LineReader::new(&file[..]);
        let header = lines.next_line().expect("a header");
        assert!(matches!(header, BackupLine::Header(_)), "{header:?}");
        let footer = lines.next_line().expect("a footer");
        assert!(matches!(footer, BackupLine::Footer(_)), "{footer:?}");
    }
}
