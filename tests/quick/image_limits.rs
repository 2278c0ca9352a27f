// SPDX-License-Identifier: Apache-2.0
//! How much a checkpoint's images may have, and ask for.

use crate::common::mount_image::{MountEntry, container, entry, image};
use crate::common::premount;
use crate::images::{call, world, write};
use premount::internals::{MountImage, parse};
use prost::Message;
use std::path::Path;
use std::time::Instant;

#[test]
fn of_a_checkpoint_that_wants_too_much_nothing_is_made() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/a/b"));
    entries.push(entry(4, 2, 9, "/", "/data/c/d"));
    let mut world = world(&entries);
    world.tmpfs("/data/configured");
    let (bundle, images) = (world.bundle(), world.path("images"));
    let apply = |most: &str| {
        let images = images.to_str().unwrap();
        let arguments = ["apply", "--bundle", &bundle, "--images", images];
        premount(
            &[&arguments[..], &["--max-inodes", most]].concat(),
            b"",
            &[],
        )
    };
    let applied = apply("3");
    assert_eq!(
        (applied.status, applied.stderr.lines().count()),
        (1, 1),
        "{applied:?}"
    );
    assert!(
        applied.stderr.contains("needs more than 3 inodes"),
        "{applied:?}"
    );
    assert_eq!(world.tree("vol"), ["d configured", "f file"]);
    assert_eq!(apply("4").status, 0);
    assert_eq!(world.tree("vol").len(), 6);
}

/// CRIU asks for `/tmp/.criu.mntns.XXXXXX/mnt-0000000003/PATH`.
#[test]
fn a_path_that_criu_could_not_ask_for_is_not_made() {
    for (length, is_made) in [(4055, true), (4056, false)] {
        // 15 names of 255 bytes, and what is left.
        let path = format!("{}/", "n".repeat(255)).repeat(15) + &"n".repeat(length - 3840);
        let mut entries = container();
        entries.push(entry(3, 2, 9, "/", &format!("/data/{path}")));
        let world = world(&entries);
        let applied = call(&world, "apply");
        assert_eq!(applied.status, i32::from(!is_made), "{applied:?}");
        assert_eq!(world.path("vol").join(path).is_dir(), is_made, "{length}");
    }
}

#[test]
fn sixteen_thousand_mounts_and_huge_strings_are_taken_in_time() {
    let mut entries = container();
    // 2^14, with those of the container and the one below.
    for id in 0..16_381 {
        let at = format!("/data/{}/{id}", id % 7);
        entries.push(entry(
            100 + id,
            if id % 2 == 0 { 2 } else { 50 + id },
            2,
            "/vol/file",
            &at,
        ));
    }
    entries.push(entry(3, 2, 9, "/", &format!("/{}", "x".repeat(60_000))));
    let world = world(&entries);
    let start = Instant::now();
    let ended = call(&world, "check");
    assert_eq!(ended.status, 1);
    assert!(start.elapsed().as_secs() < 60, "it never ends");
    // An entry that no CRIU writes.
    write(
        &world,
        "mountpoints-13.img",
        &image(&[entry(1, 0, 1, "/", &"x".repeat(1 << 20))]),
    );
    let ended = call(&world, "check");
    assert_eq!(ended.status, 2);
    assert!(
        ended
            .stderr
            .contains("mountpoints-13.img: entry 0: too long"),
        "{ended:?}"
    );
}

/// The mounts of an image, or why it is refused.
pub fn parsed(entries: &[MountEntry]) -> Result<Vec<MountImage>, String> {
    let parsed = parse(&image(entries), Path::new("mountpoints-1.img"));
    parsed
        .map(|namespace| namespace.mounts)
        .map_err(|error| error.to_string())
}

#[test]
fn an_entry_has_64_kib_at_most() {
    let with = |length: usize| {
        let options = vec![b'o'; length];
        MountEntry {
            options,
            ..entry(1, 0, 1, "/", "/")
        }
    };
    let rest = with(60_000).encoded_len() - 60_000;
    assert_eq!(parsed(&[with(65_536 - rest)]).unwrap().len(), 1);
    let refused = parsed(&[with(65_537 - rest)]).unwrap_err();
    assert!(refused.contains("entry 0: too long"), "{refused}");
}

#[test]
fn images_of_too_much_are_refused() {
    let refused = |entries: &[MountEntry], limit: &str| {
        let error = parsed(entries).unwrap_err();
        assert!(
            error.contains(&format!("more than {limit} in the")),
            "{error}"
        );
    };
    let mounts = vec![entry(1, 0, 1, "/", "/x"); 1 << 14];
    assert_eq!(parsed(&mounts).unwrap().len(), 1 << 14);
    let one_more = [&mounts[..], &mounts[..1]].concat();
    refused(&one_more, "16384 mounts");
    let named = MountEntry {
        ext_key: Some(vec![b'k'; 60_000]),
        ..entry(1, 0, 1, "/", "/")
    };
    let named = vec![named; 18];
    assert_eq!(parsed(&named[1..]).unwrap().len(), 17);
    refused(&named, "1048576 bytes of mount names");
    // Each of a thousand directories by its own path, below what the parent shows: 1.2 MB for a mount.
    let deep = entry(2, 1, 2, "/", &"/d".repeat(1000));
    let mut deep = vec![deep; 7];
    deep.push(entry(1, 0, 1, &format!("/{}", "r".repeat(100)), "/"));
    assert_eq!(parsed(&deep[1..]).unwrap().len(), 7);
    refused(&deep, "8388608 bytes of mountpoint directories");
}

#[test]
fn images_of_too_many_namespaces_are_refused() {
    let world = world(&container());
    for number in 100..1123 {
        write(
            &world,
            &format!("mountpoints-{number}.img"),
            &image(&container()),
        );
    }
    assert_eq!(call(&world, "apply").status, 0);
    write(&world, "mountpoints-1123.img", &image(&container()));
    let ended = call(&world, "apply");
    assert_eq!(ended.status, 2, "{ended:?}");
    let said = "more than 1024 mount namespaces in the checkpoint's images";
    assert!(ended.stderr.contains(said), "{ended:?}");
}
