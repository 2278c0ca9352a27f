// SPDX-License-Identifier: Apache-2.0
//! What the root of a user namespace may create, without a container: where the owner or the group of a
//! directory isn't mapped, it has the rights of its user and group and no more.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Stdio};

use crate::common::{self, World, ended, skipped_without_root, user_namespace};

const FIRST: u32 = 100_000;

/// A directory: its path, its owner and group, and its mode.
type OwnedDirectory<'a> = (&'a str, u32, u32, u32);

/// A world with a volume at /data, and mounts to be made in it, in a user namespace.
fn world(directories: &[OwnedDirectory], mounts: &[&str]) -> World {
    let mut world = World::new();
    world.directory("bundle/rootfs/data");
    for (path, ..) in directories {
        world.directory(path);
    }
    for &(path, uid, gid, mode) in directories {
        chown(world.path(path), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(world.path(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    world.bind("vol", "/data");
    for mount in mounts {
        world.tmpfs(&format!("/data/{mount}"));
    }
    let mut config = world.config();
    config["linux"] = user_namespace(FIRST, 65536);
    world.write_config(&config);
    world
}

#[test]
fn a_directory_that_one_source_does_not_let_it_reach_is_reached_through_another() {
    if skipped_without_root("give a directory away") {
        return;
    }
    let mapped = FIRST + 4711;
    let directories = [("vol", 0, 0, 0o700), ("vol/sub", mapped, mapped, 0o700)];
    let mut world = world(&directories, &["sub/x"]);
    world.directory("bundle/rootfs/sub");
    world.bind("vol/sub", "/sub");
    world.tmpfs("/sub/y");
    let mut config = world.config();
    config["linux"] = user_namespace(FIRST, 65536);
    world.write_config(&config);
    let ended = world.premount("apply");
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(world.path("vol/sub/y").is_dir(), "{ended:?}");
    // And through none if none does.
    fs::remove_dir(world.path("vol/sub/y")).unwrap();
    chown(world.path("vol/sub"), Some(0), Some(0)).unwrap();
    let ended = world.premount("apply");
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(!world.path("vol/sub/y").exists(), "{ended:?}");
}

#[test]
fn what_its_root_could_not_make_is_not_made() {
    if skipped_without_root("give a directory away") {
        return;
    }
    let mapped = FIRST + 4711;
    let cases: [(&[OwnedDirectory], bool); 9] = [
        (&[("vol", 0, 0, 0o755)], false),
        (&[("vol", 0, 0, 0o777)], true),
        (&[("vol", mapped, mapped, 0o700)], true),
        (&[("vol", mapped, 0, 0o755)], false),
        (&[("vol", 0, mapped, 0o755)], false),
        (&[("vol", 0, FIRST, 0o775)], true),
        // On the way it has to get through.
        (
            &[("vol", 0, 0, 0o700), ("vol/sub", mapped, mapped, 0o700)],
            false,
        ),
        (
            &[("vol", 0, 0, 0o711), ("vol/sub", mapped, mapped, 0o700)],
            true,
        ),
        (
            &[("vol", mapped, mapped, 0o700), ("vol/sub", 0, 0, 0o755)],
            false,
        ),
    ];
    for (directories, is_made) in cases {
        let below = directories.last().unwrap().0;
        let mount = below.strip_prefix("vol").unwrap().trim_start_matches('/');
        let world = world(directories, &[&format!("{mount}/made")]);
        let ended = world.premount("apply");
        let made = world.path(&format!("{below}/made"));
        assert_eq!(ended.status == 0, is_made, "{directories:?}: {ended:?}");
        assert_eq!(made.is_dir(), is_made, "{directories:?}: {ended:?}");
        if is_made {
            let made = fs::metadata(made).unwrap();
            assert_eq!((made.uid(), made.gid()), (FIRST, FIRST));
        } else {
            assert!(
                ended.stderr.contains("Permission denied (EACCES)"),
                "{ended:?}"
            );
        }
    }
}

/// The powers are taken and laid down for each directory anew.
#[test]
fn one_refusal_takes_no_power_from_the_next() {
    if skipped_without_root("give a directory away") {
        return;
    }
    let world = world(
        &[
            ("vol", FIRST, FIRST, 0o700),
            ("vol/of-root", 0, 0, 0o755),
            ("vol/own", FIRST + 1, FIRST + 1, 0o700),
            ("vol/own/there", FIRST + 1, FIRST + 1, 0o700),
            ("vol/closed", 0, 0, 0o700),
            ("vol/closed/own", FIRST, FIRST, 0o700),
        ],
        &[
            "of-root/a",
            "own/a",
            "closed/own/a",
            "own/b",
            "of-root/b",
            "own/there/d",
            "own/deep/c",
        ],
    );
    let ended = world.premount("apply");
    assert_eq!(
        (ended.status, ended.stderr.lines().count()),
        (1, 3),
        "{ended:?}"
    );
    assert_eq!(
        world.tree("vol/own"),
        ["d a", "d b", "d deep", "d deep/c", "d there", "d there/d"]
    );
    assert!(world.tree("vol/of-root").is_empty() && world.tree("vol/closed/own").is_empty());
}

/// The groups of who calls are none of its groups.
#[test]
fn a_group_of_the_callers_opens_nothing() {
    if skipped_without_root("give a directory away") {
        return;
    }
    let apply = |owner: u32| {
        let world = world(&[("vol", owner, 4711, 0o770)], &["made"]);
        let call = Command::new("setpriv")
            .args(["--groups", "4711", "--"])
            .arg(common::binary())
            .args(["apply", "--bundle", &world.bundle()])
            .stdin(Stdio::null())
            .output();
        (
            ended(&call.unwrap()).status,
            world.path("vol/made").is_dir(),
        )
    };
    assert_eq!(apply(FIRST), (0, true));
    assert_eq!(apply(0), (1, false));
}

/// setfsuid(2) and setfsgid(2) have no error of their own: that one of them did nothing has to be found out.
#[test]
fn a_caller_that_can_take_the_user_or_the_group_alone_makes_nothing() {
    if skipped_without_root("have one power and not the other") {
        return;
    }
    for lacks in ["-setuid", "-setgid"] {
        let world = world(&[("vol", FIRST, FIRST, 0o777)], &["made"]);
        let call = Command::new("setpriv")
            .args(["--bounding-set", lacks, "--"])
            .arg(common::binary())
            .args(["apply", "--bundle", &world.bundle()])
            .stdin(Stdio::null())
            .output();
        let ended = ended(&call.unwrap());
        assert_eq!(ended.status, 1, "{lacks}: {ended:?}");
        assert!(ended.stderr.contains("(EPERM)"), "{lacks}: {ended:?}");
        assert!(world.tree("vol").is_empty(), "{lacks}: {ended:?}");
    }
}
