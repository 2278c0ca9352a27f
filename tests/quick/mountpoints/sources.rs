// SPDX-License-Identifier: Apache-2.0
//! Sources: used twice, reached through symlinks, on kernel file systems, or created by an earlier mount.

use crate::common::World;
use serde_json::json;

use super::apply;

#[test]
fn a_source_that_is_mounted_twice_is_one() {
    let mut world = World::new();
    world.directory("a/sub");
    world.file("f");
    world.bind("a", "/one");
    world.bind("a/sub", "/two");
    world.tmpfs("/one/sub/x/y");
    world.tmpfs("/two/x/y");
    world.bind("f", "/two/x/f");
    let report = world.json("plan");
    assert_eq!(report["mounts"][3]["status"], "missing");
    assert_eq!(
        report["mounts"][3]["missing"],
        json!([]),
        "the mount before it lacks the same"
    );
    apply(&world);
    assert_eq!(
        world.tree("a"),
        ["d sub", "d sub/x", "d sub/x/y", "f sub/x/f"]
    );
}

#[test]
fn what_fails_in_a_source_to_come_is_named_by_its_host_path() {
    let mut world = World::new();
    world.directory("vol");
    world.file("f");
    world.bind("vol", "/data");
    world.tmpfs("/data/deep/made");
    world.bind("vol/deep/made", "/one");
    world.bind("vol/deep/made", "/two");
    world.bind("f", "/one/x");
    world.tmpfs("/two/x");
    let ended = world.premount("apply");
    assert_eq!(ended.status, 1, "{ended:?}");
    let said = "mount /two/x: it has to be a directory, and a file is there: ";
    let said = format!("{said}{}: ", world.path("vol/deep/made/x").display());
    assert!(ended.stderr.contains(&said), "{ended:?}");
}

#[test]
fn nothing_is_made_in_a_source_on_a_kernel_file_system() {
    let mut world = World::new();
    world.mount(json!({"destination": "/p", "source": "/proc", "options": ["bind"]}));
    world.mount(json!({"destination": "/s", "source": "/sys/fs/cgroup", "options": ["rbind"]}));
    world.tmpfs("/p/premount-test");
    let report = world.json("apply");
    assert_eq!(report["mounts"][2]["status"], "not-inspected");
}

#[test]
fn the_rootfs_and_sources_may_be_reached_through_links_of_the_hosts() {
    let mut world = World::new();
    world.directory("real/source");
    world.link("linked", "real");
    world.bind("linked/source", "/a");
    world.tmpfs("/a/x");
    apply(&world);
    assert_eq!(world.tree("real"), ["d source", "d source/x"]);
}

#[test]
fn a_source_that_an_earlier_mount_has_made_is_there() {
    let mut world = World::new();
    world.directory("vol");
    world.file("file");
    world.bind("vol", "/data");
    world.tmpfs("/data/deep/made");
    world.bind("file", "/data/made-file");
    // Its source is the mountpoint before, and what lies in it is made there too.
    world.bind("vol/deep/made", "/other");
    world.tmpfs("/other/below/x");
    world.bind("vol/made-file", "/other/file");
    world.bind("vol/./deep//made/below", "/again");
    world.tmpfs("/again/y");
    // Nobody makes that.
    world.bind("vol/deep/made/nobody", "/nowhere");
    let plan = world.json("plan");
    let statuses: Vec<&str> = plan["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["status"].as_str().unwrap())
        .collect();
    let mut expected = ["missing"; 8].to_vec();
    expected.push("failed");
    assert_eq!(statuses, expected, "{plan}");
    let ended = world.premount("apply");
    assert_eq!(
        (ended.status, ended.stderr.lines().count()),
        (1, 1),
        "{ended:?}"
    );
    assert_eq!(
        world.tree("vol"),
        [
            "d deep",
            "d deep/made",
            "d deep/made/below",
            "d deep/made/below/x",
            "d deep/made/below/y",
            "f deep/made/file",
            "f made-file",
        ]
    );
}
