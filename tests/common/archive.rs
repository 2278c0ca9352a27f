// SPDX-License-Identifier: Apache-2.0
//! Archives, block by block: also such as no tar writes.

use std::io::Write;

/// The header of a member.
pub fn typed(kind: u8, path: &str, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    // Also what `set_path` refuses.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o600);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Content in whole blocks.
pub fn blocks(content: &[u8]) -> Vec<u8> {
    let mut blocks = content.to_vec();
    blocks.resize(content.len().next_multiple_of(512), 0);
    blocks
}

/// A member of a kind, with its content.
pub fn typed_member(kind: u8, path: &str, content: &[u8]) -> Vec<u8> {
    [typed(kind, path, content.len() as u64), blocks(content)].concat()
}

/// A file.
pub fn member(path: &str, content: &[u8]) -> Vec<u8> {
    typed_member(b'0', path, content)
}

/// An archive of files.
pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members
        .iter()
        .flat_map(|(path, content)| member(path, content))
        .collect();
    bytes.extend([0; 1024]);
    bytes
}

/// A pax record.
pub fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}").into_bytes()
}

pub fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// One frame, with a checksum.
pub fn zstandard(bytes: &[u8]) -> Vec<u8> {
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(bytes).unwrap();
    zstd.finish().unwrap()
}
