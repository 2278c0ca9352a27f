// SPDX-License-Identifier: Apache-2.0
//! What fails for one mount alone: exit status 1, and all else is done.

use std::fs;

use serde_json::json;

use crate::common::World;

#[test]
fn a_destination_that_is_no_path_fails_that_mount_alone() {
    let mut world = World::new();
    let long = "n".repeat(256);
    let far = format!("/{}", "a/".repeat(2100));
    world.mount(json!({"destination": "/a\0b", "type": "tmpfs"}));
    world.mount(json!({"destination": far, "type": "tmpfs"}));
    world.mount(json!({"destination": format!("/a/{long}"), "type": "tmpfs"}));
    // runc and crun take this one.
    world.mount(json!({"destination": "relative/../in/../made", "type": "tmpfs"}));
    let ended = world.premount("apply");
    assert_eq!(ended.status, 1, "{ended:?}");
    let errors = ["(EINVAL)", "(ENAMETOOLONG)", "(ENAMETOOLONG)"];
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), errors.len(), "{ended:?}");
    for (line, errno) in lines.iter().zip(errors) {
        assert!(
            line.starts_with("ERROR premount: mount /a") && line.ends_with(errno),
            "{line}"
        );
    }
    assert_eq!(world.tree("bundle/rootfs"), ["d made"]);
}

#[test]
fn a_mount_that_fails_is_named_and_the_rest_is_done() {
    let mut world = World::new();
    world.directory("bundle/rootfs/directory");
    world.file("bundle/rootfs/file");
    world.link("bundle/rootfs/loop", "loop");
    world.link("bundle/rootfs/ping", "/pong/x");
    world.link("bundle/rootfs/pong", "ping");
    world.file("source file");
    world.directory("source directory");
    world.tmpfs("/first");
    world.tmpfs("/loop/a");
    world.tmpfs("/ping");
    world.bind("gone", "/source-is-gone");
    world.tmpfs("/source-is-gone/nested");
    world.bind("source file", "/directory");
    world.bind("source directory", "/file");
    world.tmpfs("/file2/../file/below");
    world.bind("source file/below", "/source-in-a-file");
    world.tmpfs("/last");
    let failures = [
        (
            "mount /loop/a: more than 40 symbolic links: ",
            "bundle/rootfs/loop: openat2: ",
            "(ELOOP)",
        ),
        (
            "mount /ping: more than 40 symbolic links: ",
            "bundle/rootfs/p",
            "(ELOOP)",
        ),
        (
            "mount /source-is-gone: its source can't be opened: ",
            "/gone: open: ",
            "(ENOENT)",
        ),
        (
            "mount /source-is-gone/nested: the mount that it lies in has failed",
            "",
            "(ENOENT)",
        ),
        (
            "mount /directory: it has to be a file, and a directory is there: ",
            "bundle/rootfs/directory: mount: ",
            "(EISDIR)",
        ),
        (
            "mount /file: it has to be a directory, and a file is there: ",
            "bundle/rootfs/file: mount: ",
            "(ENOTDIR)",
        ),
        (
            "mount /source-in-a-file: its source can't be opened: ",
            "source file/below: open: ",
            "(ENOTDIR)",
        ),
    ];
    for command in ["check", "plan", "apply"] {
        let before = world.state_of_all();
        let ended = world.premount(command);
        assert_eq!(ended.status, 1, "{ended:?}");
        let lines: Vec<&str> = ended.stderr.lines().collect();
        // The mount below /file lies in the bind upon it, and is made there.
        assert_eq!(lines.len(), failures.len(), "{ended:?}");
        for (line, (about, path, errno)) in lines.iter().zip(failures) {
            assert!(
                line.contains(about) && line.contains(path) && line.ends_with(errno),
                "{line}"
            );
        }
        if command != "apply" {
            assert_eq!(world.state_of_all(), before, "{command} touches nothing");
        }
    }
    let rootfs = world.tree("bundle/rootfs");
    assert_eq!(
        rootfs,
        [
            "d directory",
            "d first",
            "d last",
            "f file",
            "l loop",
            "l ping",
            "l pong"
        ]
    );
    assert_eq!(world.tree("source directory"), ["d below"]);
    assert_eq!(
        fs::read_to_string(world.path("bundle/rootfs/file")).unwrap(),
        "content"
    );
    // The same once more: the failures stay, and nothing is left to do.
    let before = world.state_of_all();
    assert_eq!(world.premount("apply").status, 1);
    assert_eq!(world.state_of_all(), before);
}
