// SPDX-License-Identifier: Apache-2.0
//! Image directories with as much in them as there may be, and with more.

use std::fs;

use super::measure::{call, call_as_criu};
use crate::common::mount_image::{MountEntry, container, entry, image};
use crate::common::{Ended, World, make_fifo};

/// Most mounts, two of the container's own among them.
pub const MOUNTS: u32 = (1 << 14) - 2;

/// A volume at /data.
pub fn world() -> World {
    let mut world = World::new();
    world.directory("vol");
    world.directory("bundle/rootfs/data");
    world.bind("vol", "/data");
    world.directory("images");
    world
}

pub fn write(world: &World, number: u32, bytes: &[u8]) {
    let name = format!("images/mountpoints-{number}.img");
    fs::write(world.path(&name), bytes).unwrap();
}

/// Calls premount in every way on the images of a world; the last of them is the hook.
pub fn in_every_way(world: &World) -> Vec<Ended> {
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
fn at_the_limit(mount: impl Fn(u32) -> MountEntry) {
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

fn in_volume(number: u32, tail: &str) -> MountEntry {
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

/// The source's own path is no part of a mount: it comes back when something is printed.
#[test]
fn a_long_path_of_a_source_counts_once() {
    let mut world = World::new();
    let source = format!("vol{}", format!("/{}", "s".repeat(250)).repeat(13));
    world.directory(&source);
    world.directory("bundle/rootfs/data");
    world.bind(&source, "/data");
    world.directory("images");
    let nested = (0..9_000).map(|number| in_volume(number, ""));
    let entries: Vec<MountEntry> = container().into_iter().chain(nested).collect();
    write(&world, 12, &image(&entries));
    let (images, bundle) = (world.path("images"), world.bundle());
    let images = images.to_str().unwrap();
    for (task, format) in [
        ("plan", "text"),
        ("plan", "json"),
        ("check", "json"),
        ("apply", "json"),
    ] {
        let arguments = [
            task,
            "--checkpoint",
            images,
            "--bundle",
            &bundle,
            "--format",
            format,
        ];
        let ended = call(&arguments, b"");
        assert!(ended.status < 2, "{ended:.1000?}");
    }
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
    let cases: [(&str, Vec<MountEntry>); 4] = [
        (
            "bytes of mountpoint directories",
            (0..100).map(deep).collect(),
        ),
        ("bytes of mount names", long_root),
        ("bytes of mount names", (0..100).map(with_key).collect()),
        (
            "bytes of mount entries",
            (0..1200).map(with_options).collect(),
        ),
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
    make_fifo(&path);
    beyond_the_limit(&world, "not a regular file");
    fs::remove_file(&path).unwrap();
    for (bytes, what) in [
        (&b""[..], "not a mountpoints image"),
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
