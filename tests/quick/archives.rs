// SPDX-License-Identifier: Apache-2.0
//! Which checkpoint archives premount reads, and what it finds in them. What they may cost is in
//! tests/slow/bounds.

use std::fs;

use premount::internals::archive;
use proptest::prelude::*;

use crate::common::archive::{
    blocks, gzipped, member, record, tar, typed, typed_member, zstandard,
};
use crate::common::mount_image::{container, image};
use crate::common::soak;
use crate::input;

const PATH: &str = "checkpoint/mountpoints-12.img";

fn content() -> Vec<u8> {
    image(&container())
}

/// How many mounts are found, or why none.
fn read(bytes: &[u8]) -> Result<Vec<usize>, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c");
    fs::write(&file, bytes).unwrap();
    archive::read(&file)
        .map(|all| {
            all.namespaces
                .iter()
                .map(|namespace| namespace.mounts.len())
                .collect()
        })
        .map_err(|error| error.to_string())
}

/// What is about the next member, the member, and an image after it.
fn before_an_image(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), tar(&[(PATH, &content())])].concat()
}

#[test]
fn an_image_is_found_behind_a_member_whose_size_only_a_pax_header_has() {
    // As Go's archive/tar writes pages of more than 8 GiB; and these are no blocks of a tar.
    let pages = vec![b'p'; 5000];
    let record = record("size", "5000");
    let parts = [
        typed_member(b'x', "PaxHeaders.0/pages-1.img", &record),
        typed(b'0', "checkpoint/pages-1.img", 0),
        blocks(&pages),
    ];
    assert_eq!(read(&before_an_image(&parts)), Ok(vec![2]));
    assert_eq!(read(&gzipped(&before_an_image(&parts))), Ok(vec![2]));
}

#[test]
fn names_come_from_gnu_and_pax_headers() {
    let deep = format!("{}/x", "d".repeat(300));
    let named = |prelude: Vec<u8>| [prelude, member("short", &content()), vec![0; 1024]].concat();
    let long = |path: &str| typed_member(b'L', "././@LongLink", &[path.as_bytes(), b"\0"].concat());
    let pax = |path: &str| {
        // An attribute may have any bytes, newlines too.
        let records = [
            record("SCHILY.xattr.user.x", "a\n7 b=c\n"),
            record("path", path),
        ];
        typed_member(b'x', "PaxHeaders.0/x", &records.concat())
    };
    let link = typed_member(b'K', "././@LongLink", &[b'k'; 5000]);
    let global = typed_member(b'g', "pax_global_header", &record("path", "elsewhere"));
    for prelude in [
        long(PATH),
        pax(PATH),
        [link.clone(), long(PATH)].concat(),
        [global, pax(PATH)].concat(),
        // The last word is that of the GNU header, as for Go's archive/tar.
        [long(PATH), pax(&deep)].concat(),
    ] {
        assert_eq!(read(&named(prelude)), Ok(vec![2]));
    }
    for prelude in [long(&deep), pax(&deep), [pax(PATH), long(&deep)].concat()] {
        assert!(
            read(&named(prelude))
                .unwrap_err()
                .contains("not a checkpoint")
        );
    }
}

#[test]
fn members_of_any_kind_are_passed_over_as_they_are_stored() {
    let sparse = |extensions: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_path("checkpoint/pages-1.img").unwrap();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(1000);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 40);
        gnu.set_is_extended(extensions > 0);
        header.set_cksum();
        let mut parts = header.as_bytes().to_vec();
        for left in (0..extensions).rev() {
            let mut map = tar::GnuExtSparseHeader::new();
            map.set_is_extended(left > 0);
            parts.extend(map.as_bytes());
        }
        [parts, blocks(&[b's'; 1000])].concat()
    };
    for parts in [
        vec![sparse(0)],
        vec![sparse(1)],
        vec![sparse(1000)],
        // What has no content may have a size.
        vec![
            typed(b'1', "link", 5000),
            typed(b'2', "link", 5000),
            typed(b'5', "d", 5000),
        ],
        vec![
            typed(b'3', "c", 5000),
            typed(b'4', "b", 5000),
            typed(b'6', "fifo", 5000),
        ],
        vec![typed_member(b'Z', "who knows", &[b'z'; 700])],
        vec![
            member("checkpoint", b""),
            member("/", b"x"),
            member("..", b"x"),
        ],
        vec![typed(b'2', PATH, 0)],
    ] {
        assert_eq!(read(&before_an_image(&parts)), Ok(vec![2]));
        assert_eq!(read(&zstandard(&before_an_image(&parts))), Ok(vec![2]));
    }
}

#[test]
fn an_image_without_its_holes_is_refused() {
    let mut header = tar::Header::new_gnu();
    header.set_path(PATH).unwrap();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(0);
    header.set_cksum();
    let pax = [
        typed_member(b'x', "x", &record("GNU.sparse.name", PATH)),
        member("GNUSparseFile.0/mountpoints-12.img", &content()),
    ];
    for bytes in [header.as_bytes().to_vec(), pax.concat()] {
        let error = read(&bytes).unwrap_err();
        assert!(
            error.contains("mountpoints-12.img: a sparse file: unpack the archive"),
            "{error}"
        );
    }
}

#[test]
fn the_later_of_two_counts() {
    let bytes = tar(&[(PATH, &image(&[])), (PATH, &content())]);
    assert_eq!(read(&bytes), Ok(vec![2]));
    let bytes = tar(&[(PATH, &content()), (PATH, &image(&[]))]);
    assert_eq!(read(&bytes), Ok(vec![0]));
}

#[test]
fn an_archive_may_be_in_several_parts() {
    let bytes = tar(&[
        ("checkpoint/pages-1.img", &vec![7; 100_000]),
        (PATH, &content()),
    ]);
    let (first, second) = bytes.split_at(60_000);
    assert_eq!(
        read(&[gzipped(first), gzipped(second)].concat()),
        Ok(vec![2])
    );
    let frames = [zstandard(first), zstandard(second)].concat();
    assert_eq!(read(&frames), Ok(vec![2]));
    let skippable = |size: u32| {
        let mut frame = 0x184d_2a53_u32.to_le_bytes().to_vec();
        frame.extend(size.to_le_bytes());
        frame.extend(vec![1; size as usize]);
        frame
    };
    let frames = [
        skippable(9),
        zstandard(first),
        skippable(0),
        zstandard(second),
        skippable(70_000),
    ];
    assert_eq!(read(&frames.concat()), Ok(vec![2]));
}

#[test]
fn a_damaged_archive_is_refused() {
    let bytes = tar(&[
        ("checkpoint/pages-1.img", &vec![7; 100_000]),
        (PATH, &content()),
    ]);
    for packed in [gzipped(&bytes), zstandard(&bytes)] {
        // The checksum comes last.
        let mut damaged = packed.clone();
        let at = damaged.len() - 6;
        damaged[at] ^= 1;
        read(&damaged).unwrap_err();
        for length in 0..packed.len() {
            read(&packed[..length]).unwrap_err();
        }
        read(&[packed.as_slice(), b"rubbish"].concat()).unwrap_err();
    }
    for length in [100, 600, 100_000, 101_000, 101_400, bytes.len() - 1200] {
        read(&bytes[..length]).unwrap_err();
    }
    let mut damaged = bytes.clone();
    damaged[0] ^= 1;
    assert!(read(&damaged).unwrap_err().contains("not a tar archive"));
    for (records, what) in [
        (&b"7 a=b\n"[..], "a damaged pax header"),
        (b"x", "a damaged pax header"),
        (b"99999999999999999999 a=b\n", "a damaged pax header"),
        (b"2 \n", "a damaged pax header"),
        (&record("size", "-1"), "a pax header with an invalid size"),
        (&record("size", ""), "a pax header with an invalid size"),
    ] {
        let parts = [typed_member(b'x', "x", records)];
        let error = read(&before_an_image(&parts)).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
    let beyond = record("size", "18446744073709551615");
    for compressed in [false, true] {
        let bytes = [typed_member(b'x', "x", &beyond), member("y", b"")].concat();
        read(&if compressed { gzipped(&bytes) } else { bytes }).unwrap_err();
    }
}

#[test]
fn a_zstandard_frame_with_a_wide_window_or_a_dictionary_is_refused() {
    use std::io::Write;
    let pages: Vec<u8> = (0..40_u32 << 20)
        .map(|number| (number.wrapping_mul(0x9e37_79b1) >> 24) as u8)
        .collect();
    let bytes = tar(&[("checkpoint/pages-1.img", &pages), (PATH, &content())]);
    let packed = |window: u32| {
        let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
        zstd.window_log(window).unwrap();
        zstd.write_all(&bytes).unwrap();
        zstd.finish().unwrap()
    };
    assert_eq!(read(&packed(23)), Ok(vec![2]));
    assert_eq!(read(&packed(24)), Ok(vec![2]));
    let error = read(&packed(25)).unwrap_err();
    assert!(
        error.ends_with("a window of more than 16 MiB: unpack it and pass the directory"),
        "{error}"
    );
    // Nothing but the header of one with a dictionary of the number 7.
    let error = read(&[0x28, 0xb5, 0x2f, 0xfd, 1, 0x50, 7, 1, 0, 0]).unwrap_err();
    assert!(error.contains("ictionary"), "{error}");
}

/// An archive with one of each that is worth a mutation.
fn rich() -> Vec<u8> {
    let parts = [
        typed_member(b'g', "g", &record("comment", "c")),
        typed_member(b'L', "././@LongLink", b"checkpoint/long\0"),
        member("x", b"content"),
        typed_member(
            b'x',
            "x",
            &[record("size", "5"), record("path", "p")].concat(),
        ),
        typed(b'0', "y", 0),
        blocks(b"12345"),
        typed_member(b'S', "sparse", b"holes"),
    ];
    before_an_image(&parts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        512 * soak()
    ))]

    #[test]
    fn a_mutated_archive_is_refused_with_a_line_or_read(
        packing in 0..3,
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 0..6),
        late in any::<bool>(),
    ) {
        let mutate = |mut bytes: Vec<u8>| {
            for (at, value, how) in &mutations {
                let at = at.index(bytes.len() + 1);
                match how {
                    0 => bytes.truncate(at.max(bytes.len() / 2)),
                    1 => bytes.insert(at, *value),
                    2 => if let Some(byte) = bytes.get_mut(at) { *byte = *value },
                    _ => if let Some(byte) = bytes.get_mut(at) { *byte ^= 1 << (value % 8) },
                }
            }
            bytes
        };
        let repaired = |mut bytes: Vec<u8>| {
            // Otherwise the first mutation of a header ends it.
            for header in bytes.chunks_exact_mut(512) {
                if header[257..262] == *b"ustar" {
                    header[148..156].fill(b' ');
                    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
                    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                }
            }
            bytes
        };
        let bytes = if late { rich() } else { repaired(mutate(rich())) };
        let packed = match packing { 0 => bytes, 1 => gzipped(&bytes), _ => zstandard(&bytes) };
        input::archive(&if late { mutate(packed) } else { packed });
    }
}
