// SPDX-License-Identifier: Apache-2.0
//! The members of a tar archive (pax, ustar, GNU and old), one after the other, each left out or read.
//! Whatever an archive has of them, what is held is a header and the two names of one.
//!
//! Not `tar::Archive`: that reads a name of any length into memory, and has no way not to.

use std::io::{self, BufRead, ErrorKind, Read, Take};

use tar::{EntryType, GnuExtSparseHeader, Header};

/// Bytes in a block: everything in an archive begins at one.
const BLOCK: u64 = 512;
/// Most bytes of a GNU long name or of pax records: a name has `PATH_MAX` at most, all
/// attributes of a file 64 KiB in most file systems (Go's archive/tar takes 1 MiB).
const MAX_TEXT: u64 = 1 << 20;

/// An archive.
pub(super) struct Members<S> {
    stream: S,
    /// How a stream passes over bytes.
    skip: fn(&mut S, u64) -> io::Result<()>,
    /// What is left of the member that was found last.
    left: u64,
    /// What fills its last block.
    padding: u64,
}

/// A regular file in the archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// Its path.
    pub path: Vec<u8>,
    /// It is stored without its holes.
    pub is_sparse: bool,
}

/// What comes before a member, and is about it.
#[derive(Default)]
struct Prelude {
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
        let mut prelude = Prelude::default();
        loop {
            self.pass()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size()?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    let mut name = self.text(size)?;
                    name.truncate(memchr::memchr(0, &name).unwrap_or(name.len()));
                    prelude.long_name = Some(name);
                }
                EntryType::XHeader => prelude.add_records(&self.text(size)?)?,
                // A link's target is nobody's, and nor is what is about all members (Go's archive/tar,
                // by which engines read it, gives it to none).
                EntryType::GNULongLink | EntryType::XGlobalHeader => self.enter(size),
                kind => {
                    let prelude = std::mem::take(&mut prelude);
                    // As for Go's archive/tar, whatever their size is said to be.
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
                        self.pass_map(&header)?;
                    }
                    let size = prelude.size.unwrap_or(size);
                    self.enter(if is_empty { 0 } else { size });
                    if let EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse = kind
                    {
                        let path = prelude.long_name.or(prelude.path);
                        return Ok(Some(Member {
                            path: path.unwrap_or_else(|| header.path_bytes().into_owned()),
                            is_sparse: prelude.is_sparse || kind == EntryType::GNUSparse,
                        }));
                    }
                }
            }
        }
    }

    /// Reads the content of the member that was found last.
    pub(super) fn read<T>(&mut self, read: impl FnOnce(&mut Take<&mut S>) -> T) -> T {
        let mut content = (&mut self.stream).take(self.left);
        let result = read(&mut content);
        self.left = content.limit();
        result
    }

    /// Goes on to the end of the stream, behind that of the archive: there are checksums.
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

    /// Passes over what is left of the last member.
    fn pass(&mut self) -> io::Result<()> {
        for size in [&mut self.left, &mut self.padding] {
            let size = std::mem::take(size);
            if size > 0 {
                (self.skip)(&mut self.stream, size)?;
            }
        }
        Ok(())
    }

    /// The next header. None at the end: that of the stream, or a block of zeros.
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
        // The field itself counts as eight spaces.
        let field = header.as_old().cksum;
        let own: u32 = field.iter().map(|&byte| u32::from(byte)).sum();
        if header.cksum()? != sum - own + 8 * 32 {
            return Err(io::Error::other("not a tar archive, or a damaged one"));
        }
        Ok(Some(header))
    }

    /// Reads what is about the next member.
    fn text(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_TEXT {
            let reason =
                format!("a member's header of {size} bytes, and no name or attribute is so long");
            return Err(io::Error::other(reason));
        }
        self.enter(size);
        let mut text = Vec::new();
        self.read(|content| content.read_to_end(&mut text))?;
        Ok(text)
    }

    /// Passes over the map of a GNU sparse file, as far as it doesn't fit into the header.
    fn pass_map(&mut self, header: &Header) -> io::Result<()> {
        let mut goes_on = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
        while goes_on {
            let mut map = GnuExtSparseHeader::new();
            self.stream.read_exact(map.as_mut_bytes())?;
            goes_on = map.is_extended();
        }
        Ok(())
    }
}

impl Prelude {
    /// Takes pax records (POSIX pax, "pax Extended Header"). Not `tar::PaxExtensions`, for which a record
    /// ends at a newline, and an attribute may have one.
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
                        size.ok_or_else(|| io::Error::other("a pax header without a size"))?;
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

/// Splits off a record, `LENGTH KEY=VALUE\n`, where the length is that of all of it.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = memchr::memchr(b' ', records)?;
    let length = std::str::from_utf8(records.get(..space)?).ok()?;
    let (record, rest) = records.split_at_checked(length.parse().ok()?)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let (key, value) = record.split_at_checked(memchr::memchr(b'=', record)?)?;
    Some((key, value.get(1..)?, rest))
}
