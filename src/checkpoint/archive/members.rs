// SPDX-License-Identifier: Apache-2.0
//! The members of a tar archive (pax, ustar, GNU and old), one by one, each read or skipped. Memory holds
//! one header and the member's names, however large the archive is.
//!
//! Not `tar::Archive`, which reads names of any length into memory.

use std::io::{self, BufRead, ErrorKind, Read, Take};

use tar::{EntryType, GnuExtSparseHeader, Header};

/// Bytes in a block: headers and content are aligned to blocks.
const BLOCK: u64 = 512;
/// Maximum bytes of a GNU long name or of pax records: a name has at most `PATH_MAX`, all attributes of a
/// file 64 KiB in most file systems (Go's archive/tar has the same limit).
const MAX_TEXT: u64 = 1 << 20;

/// An archive.
pub(super) struct Members<S> {
    stream: S,
    /// Skips bytes of the stream.
    skip: fn(&mut S, u64) -> io::Result<()>,
    /// Unread bytes of the current member.
    left: u64,
    /// Bytes that pad its last block.
    padding: u64,
}

/// A regular file in the archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// Its path.
    pub path: Vec<u8>,
    /// Whether it is stored without its holes.
    pub is_sparse: bool,
}

/// What extension headers say about the member after them.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

impl<S: BufRead> Members<S> {
    pub(super) fn new(stream: S, skip: fn(&mut S, u64) -> io::Result<()>) -> Self {
        Self {
            stream,
            skip,
            left: 0,
            padding: 0,
        }
    }

    /// The next regular file. None at the end of the archive.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size()?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    let mut name = self.read_text(size)?;
                    name.truncate(memchr::memchr(0, &name).unwrap_or(name.len()));
                    extensions.long_name = Some(name);
                }
                EntryType::XHeader => extensions.add_records(&self.read_text(size)?)?,
                // Link targets are not needed. Global headers apply to no member in Go's archive/tar, which
                // the engines use.
                EntryType::GNULongLink | EntryType::XGlobalHeader => self.enter(size),
                kind => {
                    let extensions = std::mem::take(&mut extensions);
                    // Whatever size the header gives, as in Go's archive/tar.
                    let is_empty = matches!(
                        kind,
                        EntryType::Link
                            | EntryType::Symlink
                            | EntryType::Char
                            | EntryType::Block
                            | EntryType::Directory
                            | EntryType::Fifo
                    );
                    if kind == EntryType::GNUSparse {
                        self.skip_sparse_map(&header)?;
                    }
                    let size = extensions.size.unwrap_or(size);
                    self.enter(if is_empty { 0 } else { size });
                    if let EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse = kind
                    {
                        let path = extensions.long_name.or(extensions.path);
                        return Ok(Some(Member {
                            path: path.unwrap_or_else(|| header.path_bytes().into_owned()),
                            is_sparse: extensions.is_sparse || kind == EntryType::GNUSparse,
                        }));
                    }
                }
            }
        }
    }

    /// Reads the content of the current member.
    pub(super) fn read<T>(&mut self, read: impl FnOnce(&mut Take<&mut S>) -> T) -> T {
        let mut content = (&mut self.stream).take(self.left);
        let result = read(&mut content);
        self.left = content.limit();
        result
    }

    /// Reads to the end of the stream, past the end of the archive, so that the decoder verifies its
    /// checksum.
    pub(super) fn finish(mut self) -> io::Result<()> {
        loop {
            let size = match self.stream.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(rest) => rest.len(),
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Err(error) => return Err(error),
            };
            self.stream.consume(size);
        }
    }

    fn enter(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    /// Skips the rest of the current member.
    fn skip_rest(&mut self) -> io::Result<()> {
        for size in [&mut self.left, &mut self.padding] {
            let size = std::mem::take(size);
            if size > 0 {
                (self.skip)(&mut self.stream, size)?;
            }
        }
        Ok(())
    }

    /// The next header. None at the end of the stream or at a block of zeros.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let (first, rest) = block.split_at_mut(1);
        if self.stream.by_ref().take(1).read(first)? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(rest)?;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        // The checksum field itself counts as eight spaces.
        let field = header.as_old().cksum;
        let own: u32 = field.iter().map(|&byte| u32::from(byte)).sum();
        if header.cksum()? != sum - own + 8 * 32 {
            return Err(io::Error::other("not a tar archive, or damaged"));
        }
        Ok(Some(header))
    }

    /// Reads the content of an extension header.
    fn read_text(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_TEXT {
            let reason =
                format!("a header of {size} bytes for one member: the limit is {MAX_TEXT}");
            return Err(io::Error::other(reason));
        }
        self.enter(size);
        let mut text = Vec::new();
        self.read(|content| content.read_to_end(&mut text))?;
        Ok(text)
    }

    /// Skips the blocks after the header that continue the map of a GNU sparse file.
    fn skip_sparse_map(&mut self, header: &Header) -> io::Result<()> {
        let mut is_extended = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while is_extended {
            let mut map = GnuExtSparseHeader::new();
            self.stream.read_exact(map.as_mut_bytes())?;
            is_extended = map.is_extended();
        }
        Ok(())
    }
}

impl Extensions {
    /// Adds pax records (POSIX pax, "pax Extended Header"). Not by `tar::PaxExtensions`, which ends a record
    /// at the first newline, though a value may contain newlines.
    fn add_records(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            let (key, value, rest) =
                record(records).ok_or_else(|| io::Error::other("a damaged pax header"))?;
            records = rest;
            match key {
                b"path" => self.path = Some(value.to_owned()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok();
                    let size = size.and_then(|size| size.parse().ok());
                    let size =
                        size.ok_or_else(|| io::Error::other("a pax header with an invalid size"))?;
                    self.size = Some(size);
                }
                b"GNU.sparse.name" => {
                    self.path = Some(value.to_owned());
                    self.is_sparse = true;
                }
                key => self.is_sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(())
    }
}

/// Splits off a record, `LENGTH KEY=VALUE\n`, where the length is that of the whole record.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = memchr::memchr(b' ', records)?;
    let length = std::str::from_utf8(records.get(..space)?).ok()?;
    let (record, rest) = records.split_at_checked(length.parse().ok()?)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let (key, value) = record.split_at_checked(memchr::memchr(b'=', record)?)?;
    Some((key, value.get(1..)?, rest))
}
