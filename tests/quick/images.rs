// SPDX-License-Identifier: Apache-2.0
//! What the mounts in a checkpoint's images have premount make, and what they can't.

use std::fs;

use crate::common::mount_image::{MountEntry, container, entry, image};
use crate::common::{Ended, World, make_fifo, premount};
use crate::image_limits::parsed;

/// A world with a volume at /data, and an image directory.
pub fn world(entries: &[MountEntry]) -> World {
    let mut world = World::new();
    world.directory("vol");
    world.file("vol/file");
    world.directory("outside");
    world.bind("vol", "/data");
    world.directory("images");
    write(&world, "mountpoints-12.img", &image(entries));
    world
}

pub fn write(world: &World, name: &str, bytes: &[u8]) {
    fs::write(world.path("images").join(name), bytes).unwrap();
}

pub fn call(world: &World, command: &str) -> Ended {
    let (bundle, images) = (world.bundle(), world.path("images"));
    let arguments = [
        command,
        "--bundle",
        &bundle,
        "--images",
        images.to_str().unwrap(),
    ];
    premount(&arguments, b"", &[])
}

#[test]
fn what_the_workload_mounted_in_a_volume_is_made_there() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/x/y"));
    entries.push(entry(4, 2, 2, "/vol/file", "/data/f"));
    entries.push(entry(5, 2, 2, "/vol/gone", "/data/nobody-knows"));
    entries.push(entry(6, 3, 8, "/", "/data/x/y/on-its-tmpfs"));
    let world = world(&entries);
    let plan = call(&world, "plan");
    assert_eq!(plan.status, 0, "{plan:?}");
    assert!(plan.stdout.contains("/data/nobody-knows") && plan.stdout.contains("MISSING?"));
    assert_eq!(call(&world, "check").status, 1);
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert_eq!(world.tree("vol"), ["d x", "d x/y", "f f", "f file"]);
    // What nobody could decide is missing still.
    assert_eq!(call(&world, "check").status, 1);
    world.directory("vol/nobody-knows");
    assert_eq!(call(&world, "check").status, 0);
}

/// The mount namespaces of a container's processes have most mounts in common.
#[test]
fn what_more_than_one_mount_namespace_wants_is_wanted_once() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/x"));
    let world = world(&entries);
    write(&world, "mountpoints-13.img", &image(&entries));
    let plan = call(&world, "plan");
    let wanted = plan.stdout.lines().filter(|line| line.contains("/data/x"));
    assert_eq!(wanted.count(), 1, "{plan:?}");
}

#[test]
fn what_comes_too_late_in_the_configuration_is_made_where_the_checkpoint_has_it() {
    // As Podman writes it for an imported container, whose /run/secrets it appends.
    let mut world = World::new();
    world.directory("vol");
    world.file("token");
    world.bind("token", "/data/token");
    world.bind("vol", "/data");
    world.directory("images");
    let mut token = entry(3, 2, 9, "/token", "/data/token");
    token.ext_key = Some(b"/data/token".to_vec());
    let mut entries = container();
    entries.push(token);
    write(&world, "mountpoints-12.img", &image(&entries));
    assert_eq!(call(&world, "check").status, 1);
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert_eq!(world.tree("vol"), ["f token"]);
    assert_eq!(call(&world, "check").status, 0);
}

/// crun binds one empty directory of its own over each that is masked.
#[test]
fn what_the_empty_directory_of_crun_hides_is_a_directory() {
    let masked = |id, root: &str, key: &str, at: &str| MountEntry {
        ext_key: Some(key.into()),
        ..entry(id, 2, 9, root, at)
    };
    let (shown, named) = ("/crun/c1/.empty-directory", "/run/crun/c1/.empty-directory");
    let mut entries = container();
    entries.push(masked(3, shown, named, "/data/hidden"));
    entries.push(masked(4, "/crun/c1/other", named, "/data/shows-another"));
    entries.push(masked(5, shown, "/run/other", "/data/has-another-name"));
    let world = world(&entries);
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert_eq!(world.tree("vol"), ["d hidden", "f file"]);
}

#[test]
fn a_link_where_the_checkpoint_has_none_is_no_way() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/link/y"));
    let world = world(&entries);
    world.link("vol/link", world.path("outside").to_str().unwrap());
    let applied = call(&world, "apply");
    // CRIU might get through: that is for CRIU to say.
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert!(applied.stdout.contains("1 not inspected"), "{applied:?}");
    assert!(world.tree("outside").is_empty());
}

#[test]
fn what_can_not_be_had_for_one_mount_of_the_workload_is_told_and_the_rest_made() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/file"));
    entries.push(entry(4, 2, 9, "/", "/data/file/below"));
    entries.push(entry(5, 2, 9, "/", "/data/made"));
    let world = world(&entries);
    let applied = call(&world, "apply");
    assert_eq!(
        (applied.status, applied.stderr.lines().count()),
        (1, 2),
        "{applied:?}"
    );
    let file = world.path("vol/file").to_str().unwrap().to_owned();
    for said in [
        "mount /data/file: it has to be a directory, and a file is there: ",
        "mount /data/file/below: something that is not a directory is in the way: ",
    ] {
        let said = format!("{said}{file}: ");
        assert!(applied.stderr.contains(&said), "{said}: {applied:?}");
    }
    assert_eq!(world.tree("vol"), ["d made", "f file"]);
}

#[test]
fn hostile_images_do_no_harm() {
    let long = format!("/data/{}", "n".repeat(300));
    let deep = format!("/data/{}", "d/".repeat(3000));
    let mut cases: Vec<(&str, Vec<MountEntry>)> = Vec::new();
    for path in [
        "/data/../../outside/x",
        "/../outside/x",
        "outside/x",
        "",
        "data/x",
        "/data//x",
        "/data/./x",
        "/data/x/..",
        "/data/\0x",
        "./../outside",
        "/data/x\0/y",
        &long,
        &deep,
    ] {
        cases.push((path, vec![entry(3, 2, 9, "/", path)]));
    }
    cases.push(("its own parent", vec![entry(3, 3, 9, "/", "/data/x")]));
    cases.push((
        "a circle of parents",
        vec![
            entry(3, 4, 9, "/", "/data/x"),
            entry(4, 3, 9, "/", "/data/x/y"),
        ],
    ));
    cases.push(("no such parent", vec![entry(3, 77, 9, "/", "/data/x")]));
    cases.push((
        "a parent elsewhere",
        vec![entry(3, 2, 9, "/", "/elsewhere/x")],
    ));
    cases.push((
        "a root that climbs",
        vec![entry(3, 1, 2, "/vol/../outside", "/m")],
    ));
    let mut source = entry(3, 1, 2, "/vol", "/outside");
    source.ext_key = Some(b"/outside".to_vec());
    cases.push((
        "a source of its own",
        vec![source, entry(4, 3, 9, "/", "/outside/x")],
    ));
    for (name, extra) in cases {
        let world = world(&[container(), extra].concat());
        call(&world, "plan");
        let ended = call(&world, "apply");
        assert!(matches!(ended.status, 0 | 1), "{name}: {ended:?}");
        assert!(world.tree("outside").is_empty(), "{name}");
        assert_eq!(world.tree("vol"), ["f file"], "{name}");
        assert_eq!(world.tree("bundle/rootfs"), ["d data"], "{name}");
    }
}

#[test]
fn a_file_system_that_criu_has_no_number_for_is_called_by_its_name() {
    let (longest, longer) = ("n".repeat(255), "n".repeat(256));
    for (fstype, name, called) in [
        (5, Some("other"), "tmpfs"),
        (0, Some("fuse.x"), "fuse.x"),
        (0, None, "other"),
        (16, Some("fuse.x"), "fuse.x"),
        (99, Some("fuse.x"), "fuse.x"),
        (0, Some(longest.as_str()), &longest),
        (0, Some(longer.as_str()), "other"),
    ] {
        let mount = MountEntry {
            fstype,
            fsname: name.map(Into::into),
            ..entry(1, 0, 1, "/", "/")
        };
        assert_eq!(parsed(&[mount]).unwrap()[0].file_system, called, "{fstype}");
    }
}

#[test]
fn what_is_not_named_as_criu_names_images_is_none() {
    let world = world(&container());
    for name in ["+13", "013", "-13", "13 ", "", "4294967296", "13.img"] {
        write(&world, &format!("mountpoints-{name}.img"), b"no image");
    }
    write(&world, "mountpoints-13", b"no image");
    write(&world, "old-mountpoints-13.img", b"no image");
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    write(&world, "mountpoints-0.img", b"no image");
    assert_eq!(call(&world, "apply").status, 2);
}

#[test]
fn images_that_are_none_are_refused_by_hand_and_passed_over_in_a_restore() {
    let world = world(&container());
    let good = image(&container());
    let images = world.path("images").to_str().unwrap().to_owned();
    for (bytes, reason) in [
        (&b""[..], "not a mountpoints image"),
        (b"garbage garbage", "not a mountpoints image"),
        (&good[..good.len() - 1], "entry 1: truncated"),
    ] {
        let _ = fs::remove_dir_all(world.path("bundle/rootfs/data"));
        write(&world, "mountpoints-12.img", bytes);
        let ended = call(&world, "apply");
        assert_eq!(
            (ended.status, ended.stderr.lines().count()),
            (2, 1),
            "{ended:?}"
        );
        assert!(ended.stderr.contains("mountpoints-12.img: ") && ended.stderr.contains(reason));
        assert!(world.tree("bundle/rootfs").is_empty());
        // CRIU will say so too: what the configuration says is done all the same.
        let hook = world.path("bundle/checkpoint");
        let _ = fs::remove_file(&hook);
        std::os::unix::fs::symlink(&images, &hook).unwrap();
        let ended = premount(&["hook"], world.state().as_bytes(), &[]);
        assert_eq!(ended.status, 0, "{ended:?}");
        assert!(
            ended
                .stderr
                .contains("WARN premount: the checkpoint's mounts are not considered: ")
        );
        assert_eq!(world.tree("bundle/rootfs"), ["d data"]);
    }
    fs::remove_file(world.path("images/mountpoints-12.img")).unwrap();
    let ended = call(&world, "apply");
    assert!(
        ended.status == 2 && ended.stderr.contains("no mountpoints-*.img"),
        "{ended:?}"
    );
    fs::remove_dir(world.path("images")).unwrap();
    let ended = call(&world, "apply");
    assert!(
        ended.status == 2 && ended.stderr.contains("images: open: No such file"),
        "{ended:?}"
    );
    make_fifo(&world.path("images"));
    let ended = call(&world, "apply");
    assert!(
        ended.status == 2 && ended.stderr.contains("images: open: Not a directory"),
        "{ended:?}"
    );
}

#[test]
fn the_hook_finds_the_images_beside_the_configuration() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/x"));
    let world = world(&entries);
    fs::rename(world.path("images"), world.path("bundle/checkpoint")).unwrap();
    let ended = premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(world.tree("vol"), ["d x", "f file"]);
}

#[test]
fn names_that_are_no_utf8_are_made_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let mut entries = container();
    let mut odd = entry(3, 2, 9, "/", "/data/");
    odd.mountpoint.extend([0xff; 250]);
    entries.push(odd);
    let world = world(&entries);
    let ended = call(&world, "apply");
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    let made = world
        .path("vol")
        .join(std::ffi::OsStr::from_bytes(&[0xff; 250]));
    assert!(made.is_dir());
}
