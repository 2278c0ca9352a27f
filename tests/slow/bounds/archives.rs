// SPDX-License-Identifier: Apache-2.0
//! Archives that unpack to gigabytes, or have more in them than there may be.

use std::fs;
use std::io::Write;

use super::measure::call;
use crate::common::Ended;
use crate::common::archive::{gzipped, member, tar, typed, zstandard};
use crate::common::mount_image::{container, image};

/// Reads an archive by `plan --checkpoint`.
fn plan(bytes: &[u8]) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.tar");
    fs::write(&path, bytes).unwrap();
    call(&["plan", "--checkpoint", path.to_str().unwrap()], b"")
}

fn refused(bytes: &[u8], what: &str) {
    let ended = plan(bytes);
    assert_eq!(
        (ended.status, ended.stdout.as_str()),
        (2, ""),
        "{what}: {ended:?}"
    );
    assert_eq!(ended.stderr.lines().count(), 1, "{what}: {ended:?}");
    assert!(ended.stderr.contains(what), "{what}: {ended:?}");
}

/// A block, and some gigabytes of one byte after it.
fn bomb(block: &[u8], byte: u8) -> [Vec<u8>; 2] {
    const GIGABYTES: usize = 1;
    let filling = vec![byte; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for out in [&mut gzip as &mut dyn Write, &mut zstd] {
        out.write_all(block).unwrap();
        for _ in 0..GIGABYTES << 10 {
            out.write_all(&filling).unwrap();
        }
    }
    [gzip.finish().unwrap(), zstd.finish().unwrap()]
}

#[test]
fn a_bomb_is_left_alone() {
    for bytes in bomb(&typed(b'0', "checkpoint/pages-1.img", 64 << 30), 0) {
        refused(&bytes, "unpack it and pass the directory");
    }
    // Without end: what comes after the archive's end is gone through for the checksum.
    for bytes in bomb(
        &tar(&[("checkpoint/mountpoints-1.img", &image(&container()))]),
        0,
    ) {
        refused(&bytes, "unpack it and pass the directory");
    }
}

#[test]
fn a_long_name_takes_no_memory() {
    for kind in [b'L', b'x'] {
        for bytes in bomb(&typed(kind, "x", 4 << 30), b'a') {
            refused(&bytes, "bytes for one member: the limit is");
        }
    }
    for kind in [b'K', b'g'] {
        for bytes in bomb(&typed(kind, "x", 4 << 30), b'a') {
            refused(&bytes, "unpack it and pass the directory");
        }
    }
}

#[test]
fn many_images_in_an_archive_are_refused() {
    let image = image(&container());
    let mut bytes = Vec::new();
    for number in 0..2000 {
        bytes.extend(member(
            &format!("checkpoint/mountpoints-{number}.img"),
            &image,
        ));
    }
    for bytes in [bytes.clone(), gzipped(&bytes), zstandard(&bytes)] {
        refused(
            &bytes,
            "mountpoints-1024.img: more than 1024 mount namespaces",
        );
    }
    // Of two with one name the later counts, but both were read.
    let again = member("checkpoint/mountpoints-1.img", &image).repeat(2000);
    refused(&again, "more than 1024 mount namespaces");
}

#[test]
fn a_million_members_take_no_memory() {
    let mut bytes = typed(b'0', "e", 0).repeat(300_000);
    bytes.extend(tar(&[(
        "checkpoint/mountpoints-1.img",
        &image(&container()),
    )]));
    assert_eq!(plan(&bytes).status, 0);
}

/// A block that unpacks to 3.9 GB, which no block may (RFC 8878, 3.1.1.2.4): each sequence of 16 bits
/// repeats 128 KiB.
#[test]
fn a_zstandard_block_longer_than_a_block_is_refused() {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
    let sequences: u32 = 30_000;
    let header = |size: usize, kind: u32, last: u32| {
        let header = (u32::try_from(size).unwrap() << 3) | (kind << 1) | last;
        header.to_le_bytes()[..3].to_vec()
    };
    frame.extend(header(16, 0, 0));
    frame.extend([b'x'; 16]);
    let mut block = vec![0];
    let [high, low] = u16::try_from(sequences).unwrap().to_be_bytes();
    block.extend([high + 128, low]);
    block.extend([0b0101_0100, 0, 0, 52]);
    block.extend(vec![0xff; sequences as usize * 2]);
    block.push(1);
    frame.extend(header(block.len(), 2, 1));
    frame.extend(block);
    let ended = plan(&frame);
    assert_eq!(ended.status, 2, "{ended:?}");
}
