// SPDX-License-Identifier: Apache-2.0
//! Images with as many open files as there may be, and with more.

use std::fs;

use super::images::{MOUNTS, in_every_way, world, write};
use crate::common::file_image::{self, Fifo, FileEntry};
use crate::common::mount_image::{MountEntry, container, entry, image};
use crate::common::{Ended, World};

const NOT_CONSIDERED: &str = "what the checkpoint's tasks hold open is not considered";

fn write_files(world: &World, files: &[FileEntry]) {
    let bytes = file_image::image(file_image::FILES, files);
    fs::write(world.path("images/files.img"), bytes).unwrap();
}

/// Open files in a directory.
fn files(count: u32, have_content: bool, directory: &str) -> Vec<FileEntry> {
    let file = |number| {
        let path = format!("{directory}/{number:x}");
        if have_content {
            file_image::open(number, &path, 0o100_644, Some(1))
        } else {
            file_image::directory(number, &path, 0o755)
        }
    };
    (0..count).map(file).collect()
}

/// Calls premount in every way that looks at open files, and whether it said that it considers none.
fn ended_in_every_way(world: &World) -> Vec<(Ended, bool)> {
    // The first two print the checkpoint alone.
    let ended = in_every_way(world).into_iter().skip(2);
    let with_words = ended.map(|ended| {
        assert!(ended.status < 2, "{ended:.1000?}");
        let is_said = ended.stderr.contains(NOT_CONSIDERED);
        (ended, is_said)
    });
    with_words.collect()
}

/// A million entries of open files are read one by one; what premount can make of them is kept, up to a limit.
#[test]
fn a_million_open_files_take_no_memory() {
    let full = file_image::open(1, "/data/full", 0o100_644, Some(7));
    let dry = file_image::directory(1, "/data/directory", 0o755);
    let long = format!("/data{}", "/long".repeat(500));
    let long = file_image::directory(1, &long, 0o755);
    let at_the_limit = (4 << 20) / (128 + "data/directory".len()) - 1;
    for (open, count, is_considered) in [
        (&full, 1 << 20, false),
        (&dry, at_the_limit, true),
        (&dry, 1 << 20, false),
        (&long, 1 << 14, false),
    ] {
        let world = world();
        write(&world, 12, &image(&container()));
        let one = file_image::image(file_image::FILES, std::slice::from_ref(open));
        let (magic, entry) = one.split_at(8);
        fs::write(
            world.path("images/files.img"),
            [magic, &entry.repeat(count)].concat(),
        )
        .unwrap();
        for (ended, is_said) in ended_in_every_way(&world) {
            assert_eq!(!is_said, is_considered, "{count}: {ended:.1000?}");
            let has_some = ended.stdout.contains("directory /");
            assert!(is_considered || !has_some, "{count}: {ended:.1000?}");
        }
    }
}

/// Each with a path of its own, and as many as may be made; and tasks for all of them.
#[test]
fn as_many_open_files_as_are_considered_take_64_mib() {
    for (count, has_content) in [(9000, false), (20_000, true)] {
        let world = world();
        write(&world, 12, &image(&container()));
        write_files(&world, &files(count, has_content, "/data"));
        let groups: Vec<u32> = (0..1000).collect();
        for task in 1..1000 {
            let write = |name: &str, bytes: &[u8]| {
                fs::write(
                    world.path("images").join(format!("{name}-{task}.img")),
                    bytes,
                )
                .unwrap();
            };
            write("fs", &file_image::working_directory(task));
            write("core", &file_image::core(task, task, &groups));
        }
        for ended in in_every_way(&world) {
            assert!(ended.status < 2, "{ended:.1000?}");
        }
    }
}

/// FIFOs and deleted files have no path, but an ID.
#[test]
fn a_million_files_without_a_path_take_no_memory() {
    for (name, magic) in [
        ("fifo", file_image::FIFOS),
        ("remap-fpath", file_image::REMAPS),
    ] {
        for (count, is_considered) in [(10_000, true), (1 << 20, false)] {
            let world = world();
            write(&world, 12, &image(&container()));
            // Of a deleted file: its ID, and what it is now.
            let entries: Vec<Fifo> = (0..count)
                .map(|id| Fifo {
                    id,
                    pipe_id: id,
                    regf_id: None,
                })
                .collect();
            let bytes = file_image::image(magic, &entries);
            fs::write(world.path(&format!("images/{name}.img")), bytes).unwrap();
            for (ended, is_said) in ended_in_every_way(&world) {
                assert_eq!(!is_said, is_considered, "{name}: {ended:.1000?}");
            }
        }
    }
}

/// All open files in one mount of the workload, which takes long to find or has a long path.
#[test]
fn open_files_in_an_odd_mount_take_no_more() {
    let deep = format!("/vol{}", "/d".repeat(2000));
    let stack = (3..MOUNTS).map(|id| entry(id, id - 1, 2, "/vol/m", "/data/m"));
    // A mount that is on itself, in a way.
    let circle = [
        entry(3, 2, 2, "/vol/m", "/data/m"),
        entry(4, 3, 2, "/vol/m", "/data/m"),
        entry(3, 4, 2, "/vol/m", "/data/m"),
    ];
    let beside = (5..MOUNTS).map(|id| entry(id, 2, 2, "/vol/n", "/data/n"));
    for mounts in [
        stack.collect(),
        circle.into_iter().chain(beside).collect(),
        vec![entry(3, 2, 2, &deep, "/data/m")],
    ] {
        for (count, has_content) in [(9000, false), (20_000, true)] {
            let world = world();
            let entries: Vec<MountEntry> = container().into_iter().chain(mounts.clone()).collect();
            write(&world, 12, &image(&entries));
            write_files(&world, &files(count, has_content, "/data/m"));
            for ended in in_every_way(&world) {
                assert!(ended.status < 2, "{ended:.1000?}");
            }
        }
    }
}

/// The names of sockets are the only ones with links.
#[test]
fn sockets_through_a_link_take_no_memory() {
    let world = world();
    write(&world, 12, &image(&container()));
    let deep = format!("/data{}", "/d".repeat(2000));
    std::os::unix::fs::symlink(deep, world.path("bundle/rootfs/l")).unwrap();
    let sockets: Vec<_> = (0..13_000)
        .map(|number| file_image::socket(number, &format!("/l/{number:x}")))
        .collect();
    write_files(&world, &sockets);
    for ended in in_every_way(&world) {
        assert!(ended.status < 2, "{ended:.1000?}");
    }
}
