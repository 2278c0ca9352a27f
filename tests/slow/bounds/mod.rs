// SPDX-License-Identifier: Apache-2.0
//! What any checkpoint may take: 64 MiB of memory and some seconds, whatever is in it, by hand and in a
//! restore. Measured on the release build where there is one (`PREMOUNT_RELEASE_BINARY`).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::archive::{gzipped, member, tar, typed, zstandard};
use crate::common::image::{Entry, container, entry, image};
use crate::common::{self, AsCriu, Ended, World};

/// Most memory, in KiB.
const MEMORY: u64 = 64 << 10;
/// Most time. A debug build takes ten times as long as premount.
const TIME: Duration = Duration::from_secs(20);
/// Most mounts, two of the container's own among them.
const MOUNTS: u32 = (1 << 14) - 2;

/// A program that says how much memory another took.
fn peak() -> &'static Path {
    static PEAK: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PEAK.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peak");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline/peak.c");
        let mut cc = Command::new("cc");
        let built = cc.args(["-O2", "-o"]).arg(&path).arg(source).status();
        assert!(built.expect("a C compiler").success());
        (directory, path)
    });
    path
}

/// Calls premount, and asserts that it ended by itself, in bounds.
fn call(arguments: &[&str], stdin: &[u8]) -> Ended {
    within_bounds(arguments, stdin, |memory| {
        let mut command = Command::new(peak());
        command
            .arg(memory)
            .arg(program())
            .args(arguments)
            .env_clear();
        command
    })
}

/// The same as CRIU calls it.
fn call_as_criu(world: &World) -> Ended {
    within_bounds(&["action"], b"", |memory| {
        let mut criu = AsCriu::restores(world);
        criu.images = world.path("images");
        criu.program = program();
        criu.before = [peak(), memory]
            .map(|path| path.to_str().unwrap().to_owned())
            .to_vec();
        criu.command(&["action"])
    })
}

fn program() -> PathBuf {
    let release = std::env::var_os("PREMOUNT_RELEASE_BINARY").map(PathBuf::from);
    release.unwrap_or_else(common::binary)
}

fn within_bounds(
    arguments: &[&str],
    stdin: &[u8],
    command: impl FnOnce(&Path) -> Command,
) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let [memory, out, err] = ["memory", "out", "err"].map(|name| directory.path().join(name));
    let start = Instant::now();
    let mut child = command(&memory)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let status = child.wait().unwrap().code().unwrap();
    let time = start.elapsed();
    let text = |path| String::from_utf8(fs::read(path).unwrap()).unwrap();
    let memory: u64 = text(&memory).trim().parse().expect("an exit");
    assert!(memory <= MEMORY, "{arguments:?}: {memory} KiB");
    assert!(time <= TIME, "{arguments:?}: {time:?}");
    Ended {
        status,
        stdout: text(&out),
        stderr: text(&err),
    }
}

/// A volume at /data.
fn world() -> World {
    let mut world = World::new();
    world.directory("vol");
    world.directory("bundle/rootfs/data");
    world.bind("vol", "/data");
    world.directory("images");
    world
}

fn write(world: &World, number: u32, bytes: &[u8]) {
    let name = format!("images/mountpoints-{number}.img");
    fs::write(world.path(&name), bytes).unwrap();
}

/// Calls premount in every way on the images of a world; the last of them is the hook.
fn in_every_way(world: &World) -> Vec<Ended> {
    let (images, bundle) = (world.path("images"), world.bundle());
    let images = images.to_str().unwrap();
    let by_hand: [&[&str]; 7] = [
        &["plan", "--checkpoint", images],
        &["plan", "--checkpoint", images, "--format", "json"],
        &["plan", "--images", images, "--bundle", &bundle],
        &["check", "--checkpoint", images, "--bundle", &bundle],
        &[
            "check", "--images", images, "--bundle", &bundle, "--format", "json",
        ],
        &["apply", "--images", images, "--bundle", &bundle],
        &[
            "apply",
            "--checkpoint",
            images,
            "--bundle",
            &bundle,
            "--format",
            "json",
        ],
    ];
    let mut ended: Vec<Ended> = Vec::new();
    for arguments in by_hand {
        // `apply` is to have something to do.
        if ended.len() > 4 {
            fs::remove_dir_all(world.path("vol")).unwrap();
            world.directory("vol");
        }
        ended.push(call(arguments, b""));
    }
    fs::remove_dir_all(world.path("vol")).unwrap();
    world.directory("vol");
    fs::remove_dir(world.path("bundle/rootfs/data")).unwrap();
    ended.push(call_as_criu(world));
    std::os::unix::fs::symlink(images, world.path("bundle/checkpoint")).unwrap();
    ended.push(call(&["hook"], world.state().as_bytes()));
    ended
}

/// As many mounts as there may be, and as much of each as there may be of all.
fn at_the_limit(mount: impl Fn(u32) -> Entry) {
    let world = world();
    let mut entries = container();
    let mut left = (1_usize << 20) - 100;
    let mut directories = (8_usize << 20) - 1000;
    for number in 0..MOUNTS {
        let entry = mount(number);
        let names = entry.root.len() + entry.mountpoint.len() + 8;
        let external = entry.ext_key.as_ref().map_or(0, Vec::len);
        let file_system = entry.fsname.as_ref().map_or(0, Vec::len);
        let components = entry.mountpoint.iter().filter(|&&byte| byte == b'/');
        let ways = components.count() * (128 + 8 + entry.mountpoint.len());
        let sizes = (names + external + file_system, ways);
        let (Some(names), Some(ways)) =
            (left.checked_sub(sizes.0), directories.checked_sub(sizes.1))
        else {
            break;
        };
        (left, directories) = (names, ways);
        entries.push(entry);
    }
    write(&world, 12, &image(&entries));
    for ended in in_every_way(&world) {
        assert!(ended.status < 2, "{ended:.1000?}");
    }
}

/// More than there may be: an error by hand, and a line in a restore.
fn beyond_the_limit(world: &World, what: &str) {
    let mut ended = in_every_way(world);
    for (ended, by_hand) in ended
        .drain(..)
        .zip([[true; 7].as_slice(), &[false; 2]].concat())
    {
        let lines: Vec<&str> = ended
            .stderr
            .lines()
            .filter(|line| line.contains(what))
            .collect();
        assert_eq!(lines.len(), 1, "{what}: {ended:?}");
        assert!(lines[0].contains("/mountpoints-"), "{ended:?}");
        if by_hand {
            assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{ended:?}");
        } else {
            assert_eq!(ended.status, 0, "{ended:?}");
        }
    }
    // What the configuration says is done all the same.
    assert_eq!(world.tree("bundle/rootfs"), ["d data"]);
}

fn in_volume(number: u32, tail: &str) -> Entry {
    entry(100 + number, 2, 9, "/", &format!("/data/{number:x}{tail}"))
}

#[test]
fn many_mounts_and_long_names_take_64_mib() {
    at_the_limit(|number| in_volume(number, ""));
    at_the_limit(|number| in_volume(number, &"\u{7f}".repeat(40)));
    at_the_limit(|number| in_volume(number, &"\u{7f}".repeat(240)));
    at_the_limit(|number| {
        let mut mount = in_volume(number, "");
        mount.mountpoint.extend([0xff; 40]);
        mount
    });
}

#[test]
fn many_directories_take_64_mib() {
    at_the_limit(|number| in_volume(number, "/d/e/f"));
    at_the_limit(|number| in_volume(number, &"/d".repeat(20)));
    at_the_limit(|number| in_volume(number, &"/d".repeat(150)));
}

#[test]
fn many_external_mounts_and_file_systems_take_64_mib() {
    at_the_limit(|number| {
        let mut mount = in_volume(number, &"\u{7f}".repeat(36));
        mount.ext_key = Some(format!("{number}").into());
        mount
    });
    at_the_limit(|number| {
        let mut mount = in_volume(number, "");
        (mount.fstype, mount.fsname) = (0, Some(vec![0x7f; 40]));
        mount
    });
    at_the_limit(|number| {
        let mut mount = in_volume(number, "");
        (mount.fstype, mount.fsname) = (0, Some(vec![0x7f; 60_000]));
        mount
    });
}

#[test]
fn many_namespaces_take_64_mib() {
    let world = world();
    for number in 0..1024 {
        let mut entries = container();
        entries.extend((0..13).map(|mount| in_volume(mount, "/x")));
        write(&world, number, &image(&entries));
    }
    for ended in in_every_way(&world) {
        assert!(ended.status < 2, "{ended:.1000?}");
    }
    let world = self::world();
    for number in 0..1030 {
        write(&world, number, &image(&container()));
    }
    beyond_the_limit(&world, "more than 1024 mount namespaces");
}

#[test]
fn four_images_of_64_mib_of_tiny_entries_are_refused_at_once() {
    let world = world();
    let mut bytes = image(&container());
    let empty = image(&[entry(100, 2, 9, "/", "/a")])[8..].to_vec();
    bytes.extend(empty.repeat((64 << 20) / empty.len()));
    write(&world, 1, &bytes);
    for number in 2..5 {
        let name = format!("images/mountpoints-{number}.img");
        fs::hard_link(world.path("images/mountpoints-1.img"), world.path(&name)).unwrap();
    }
    beyond_the_limit(&world, "more than 16384 mounts");
}

#[test]
fn what_no_container_has_is_refused() {
    // Two thousand directories, a hundred times.
    let deep = |number| in_volume(number, &"/d".repeat(2000));
    let below_a_long_root = |number| {
        let mut mount = in_volume(number, "");
        mount.parent_mnt_id = 99;
        mount
    };
    let mut long_root = vec![entry(
        99,
        2,
        2,
        &format!("/vol{}", "/r".repeat(2000)),
        "/data/r",
    )];
    long_root.extend((0..2000).map(below_a_long_root));
    let with_key = |number| {
        let mut mount = in_volume(number, "");
        mount.ext_key = Some(vec![b'x'; 60_000]);
        mount
    };
    let with_options = |number| {
        let mut mount = in_volume(number, "");
        mount.options = vec![b'x'; 60_000];
        mount
    };
    let cases: [(&str, Vec<Entry>); 4] = [
        ("bytes of directories", (0..100).map(deep).collect()),
        ("bytes of names", long_root),
        ("bytes of names", (0..100).map(with_key).collect()),
        ("bytes of mounts", (0..1200).map(with_options).collect()),
    ];
    for (what, entries) in cases {
        let world = world();
        write(&world, 12, &image(&[container(), entries].concat()));
        beyond_the_limit(&world, what);
    }
}

#[test]
fn image_files_that_are_none_are_refused_at_once() {
    let world = world();
    let path = world.path("images/mountpoints-1.img");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&path, mode).unwrap();
    beyond_the_limit(&world, "not a regular file");
    fs::remove_file(&path).unwrap();
    for (bytes, what) in [
        (&b""[..], "not an image of mounts"),
        (&image(&[])[..], "more than 16384 mounts"),
    ] {
        let world = self::world();
        // A tebibyte of zeros: each four bytes are an entry without content.
        let path = world.path("images/mountpoints-1.img");
        fs::write(&path, bytes).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        beyond_the_limit(&world, what);
    }
}

#[test]
fn a_name_that_criu_does_not_write_is_no_image() {
    let world = world();
    write(&world, 12, &image(&container()));
    for name in ["+12", "012", "12x", "", "4294967296", "-1"] {
        let name = format!("images/mountpoints-{name}.img");
        fs::write(world.path(&name), "no image").unwrap();
    }
    for ended in in_every_way(&world) {
        assert_eq!(ended.status, 0, "{ended:?}");
    }
}

#[test]
fn a_crowded_directory_of_images_takes_no_memory() {
    let world = world();
    write(&world, 12, &image(&container()));
    let first = world.file("images/pages-0.img");
    let mut links = 0;
    // A file system has a most of links of one file.
    for number in 1..60_000 {
        let name = world.path(&format!("images/pages-{number}{}", "x".repeat(200)));
        if links == 0 || fs::hard_link(&first, &name).is_err() {
            links = 1;
            fs::write(&name, "").unwrap();
        }
    }
    for ended in in_every_way(&world) {
        assert_eq!(ended.status, 0, "{ended:?}");
    }
}

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
        refused(&bytes, "unpack it, and name the directory");
    }
    // Without end: what comes after the archive's end is gone through for the checksum.
    for bytes in bomb(
        &tar(&[("checkpoint/mountpoints-1.img", &image(&container()))]),
        0,
    ) {
        refused(&bytes, "unpack it, and name the directory");
    }
}

#[test]
fn a_long_name_takes_no_memory() {
    for kind in [b'L', b'x'] {
        for bytes in bomb(&typed(kind, "x", 4 << 30), b'a') {
            refused(&bytes, "no name or attribute is so long");
        }
    }
    for kind in [b'K', b'g'] {
        for bytes in bomb(&typed(kind, "x", 4 << 30), b'a') {
            refused(&bytes, "unpack it, and name the directory");
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
