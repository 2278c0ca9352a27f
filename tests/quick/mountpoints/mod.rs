// SPDX-License-Identifier: Apache-2.0
//! Where premount makes mountpoints. Each world is a rootfs, some sources and some mounts; `apply` makes in them
//! what a runtime's first start would.

mod links;
mod sources;
mod tmpfs;

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::common::{self, World};

/// Applies, and again: the second time nothing changes.
fn apply(world: &World) {
    let missing = world.premount("check");
    let ended = world.premount("apply");
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{ended:?}");
    // What `check` finds missing is what `apply` makes.
    let made = ended
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("created "));
    let lacked = missing
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("missing "));
    let lacked: Vec<_> = lacked.collect();
    assert_eq!(lacked, made.collect::<Vec<_>>());
    assert_eq!(missing.status, i32::from(!lacked.is_empty()));
    let before = world.state_of_all();
    assert_eq!(world.premount("check").status, 0);
    assert_eq!(world.premount("apply").status, 0);
    assert_eq!(world.state_of_all(), before);
}

#[test]
fn a_nested_mount_lives_in_the_source_that_covers_it() {
    let mut world = World::new();
    world.directory("a");
    world.directory("b");
    world.file("f");
    world.bind("a", "/a");
    world.bind("b", "/a/x/b");
    world.bind("f", "/a/x/b/y/f");
    apply(&world);
    assert_eq!(world.tree("bundle/rootfs"), ["d a"]);
    assert_eq!(world.tree("a"), ["d x", "d x/b"]);
    assert_eq!(world.tree("b"), ["d y", "f y/f"]);
}

#[test]
fn new_directories_are_0755_and_files_0644_whatever_the_umask() {
    let mut world = World::new();
    world.directory("a");
    world.file("f");
    world.bind("a", "/a");
    world.bind("f", "/a/d/f");
    // In a process of its own: the umask is shared by all tests here.
    let ended = world.shell("umask 777 && exec \"$0\" apply --bundle \"$1\"");
    assert!(ended.status.success(), "{ended:?}");
    let mode = |path: &str| world.path(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("a/d"), mode("a/d/f")), (0o755, 0o644));
    assert_eq!(world.path("a/d/f").metadata().unwrap().len(), 0);
}

#[test]
fn a_mount_covers_what_was_mounted_below_it_before() {
    let mut world = World::new();
    for source in ["first", "over", "third"] {
        world.directory(source);
    }
    world.bind("first", "/a/b");
    world.bind("over", "/a");
    world.bind("third", "/a/b/c");
    apply(&world);
    assert_eq!(world.tree("bundle/rootfs"), ["d a", "d a/b"]);
    assert!(world.tree("first").is_empty());
    assert_eq!(world.tree("over"), ["d b", "d b/c"]);
}

#[test]
fn of_stacked_mounts_the_topmost_counts() {
    let mut world = World::new();
    world.directory("under");
    world.directory("top");
    world.bind("under", "/a");
    world.bind("top", "/a");
    world.tmpfs("/a/x");
    apply(&world);
    assert!(world.tree("under").is_empty());
    assert_eq!(world.tree("top"), ["d x"]);
}

#[test]
fn one_place_can_not_be_both_kinds() {
    let mut world = World::new();
    world.directory("a");
    world.file("f");
    world.bind("a", "/one");
    world.bind("a", "/two");
    world.bind("f", "/one/x");
    world.tmpfs("/two/x");
    world.tmpfs("/two/x/below");
    for command in ["plan", "check", "apply"] {
        let ended = world.premount(command);
        assert_eq!(ended.status, 1);
        assert!(
            ended
                .stderr
                .contains("mount /two/x: it has to be a directory")
        );
    }
    assert_eq!(world.tree("a"), ["f x"]);
}

#[test]
fn what_will_be_a_file_is_no_way() {
    let mut world = World::new();
    world.directory("a");
    world.file("f");
    world.bind("a", "/one");
    world.bind("a", "/two");
    world.bind("f", "/one/x");
    world.tmpfs("/two/x/y");
    for command in ["plan", "check", "apply"] {
        let ended = world.premount(command);
        assert_eq!(ended.status, 1);
        let said = "mount /two/x/y: something that is not a directory is in the way: ";
        let said = format!("{said}{}: ", world.path("a/x").display());
        assert!(ended.stderr.contains(&said), "{command}: {ended:?}");
    }
    assert_eq!(world.tree("a"), ["f x"]);
}

#[test]
fn what_lies_below_a_kernel_file_system_is_not_judged() {
    let mut world = World::new();
    world.file("f");
    world.mount(json!({"destination": "/proc", "type": "proc", "source": "proc"}));
    world.mount(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
    world.mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}));
    world.bind("f", "/proc/cpuinfo");
    world.mount(json!({"destination": "/o", "type": "overlay", "source": "overlay"}));
    world.tmpfs("/o/below");
    let report = world.json("apply");
    let status = |index: usize| report["mounts"][index]["status"].as_str().unwrap();
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(status),
        [
            "created",
            "created",
            "kernel",
            "not-inspected",
            "created",
            "not-inspected"
        ]
    );
    assert_eq!(world.tree("bundle/rootfs"), ["d o", "d proc", "d sys"]);
    let ended = common::premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0, "what can't be judged fails nothing");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            r#" INFO premount: mountpoint not inspected mount="/proc/cpuinfo" below="proc""#,
            r#" INFO premount: mountpoint not inspected mount="/o/below" below="overlay""#,
            " INFO premount: 6 mounts: 2 not inspected",
        ]
    );
}

#[test]
fn what_has_to_be_there_is_there_as_anything_but_the_other_kind() {
    let mut world = World::new();
    world.directory("bundle/rootfs/d");
    world.file("f");
    common::make_fifo(&world.path("bundle/rootfs/fifo"));
    world.bind("f", "/fifo");
    world.tmpfs("/d");
    world.tmpfs("/");
    let before = world.state_of_all();
    apply(&world);
    assert_eq!(world.state_of_all(), before);
}

#[test]
fn names_of_any_characters_are_made_as_they_are() {
    let mut world = World::new();
    world.directory("a");
    world.bind("a", "/a");
    let names = [
        "with blank",
        "new\nline",
        "qu\"o'te",
        "ünï日本",
        "\u{1b}[31m",
        "-rf",
        "back\\slash",
    ];
    for name in names {
        world.tmpfs(&format!("/a/{name}"));
    }
    let ended = world.premount("plan");
    assert!(
        !ended.stdout.contains('\u{1b}'),
        "no escape sequence gets through"
    );
    apply(&world);
    let mut made: Vec<String> = names.iter().map(|name| format!("d {name}")).collect();
    made.sort();
    assert_eq!(world.tree("a"), made);
}

#[test]
fn more_mounts_than_descriptors() {
    let world = World::new();
    let mut mounts = Vec::new();
    for index in 0..300 {
        world.directory(&format!("s{index}"));
        let source = world.path(&format!("s{index}"));
        mounts.push(
            json!({"destination": format!("/m{index}"), "source": source, "options": ["bind"]}),
        );
    }
    for index in 0..300 {
        mounts.push(json!({"destination": format!("/m{index}/x/y"), "type": "tmpfs"}));
    }
    let config = json!({"root": {"path": "rootfs"}, "mounts": mounts});
    world.write_config(&config);
    let ended = world.shell("ulimit -n 32 && exec \"$0\" apply --bundle \"$1\"");
    assert!(ended.status.success(), "{ended:?}");
    for index in 0..300 {
        assert_eq!(world.tree(&format!("s{index}")), ["d x", "d x/y"]);
    }
}

#[test]
fn what_lies_in_a_lost_mount_is_made_nowhere() {
    let mut world = World::new();
    world.directory("a");
    world.link("bundle/rootfs/loop", "loop");
    world.bind("a", "/loop/a");
    world.tmpfs("/loop/a/x");
    world.bind("a", "/a");
    world.link("a/turn", "turn");
    world.bind("a", "/a/turn");
    world.tmpfs("/a/turn/../turn/y");
    let ended = world.premount("apply");
    assert_eq!(
        (ended.status, ended.stderr.lines().count()),
        (1, 4),
        "{ended:?}"
    );
    assert_eq!(
        ended
            .stderr
            .matches("the mount that it lies in has failed")
            .count(),
        2
    );
    assert_eq!(world.tree("bundle/rootfs"), ["d a", "l loop"]);
    assert_eq!(world.tree("a"), ["l turn"]);
}

#[test]
fn above_an_over_mounted_root_is_the_topmost_root() {
    let mut world = World::new();
    world.directory("a");
    world.link("a/up", "gone/../..");
    world.bind("a", "/");
    world.tmpfs("/up/x");
    apply(&world);
    assert_eq!(world.tree("a"), ["d x", "l up"]);
    assert!(world.tree("bundle/rootfs").is_empty());
}

#[test]
fn masked_paths_devices_and_consoles_are_none_of_its_business() {
    // CVE-2025-31133, CVE-2025-52565: a /dev/null or a /dev/console of the container's own.
    let mut world = World::new();
    let victim = world.file("victim");
    world.directory("bundle/rootfs/dev");
    for link in ["null", "console", "ptmx"] {
        world.link(
            &format!("bundle/rootfs/dev/{link}"),
            victim.to_str().unwrap(),
        );
    }
    world.tmpfs("/t");
    let mut config = world.config();
    config["process"] = json!({"terminal": true});
    config["linux"] = json!({
        "maskedPaths": ["/proc/kcore", "/dev/null", "/masked"],
        "readonlyPaths": ["/proc/sys"],
        "devices": [{"path": "/dev/made", "type": "c", "major": 1, "minor": 3}],
    });
    world.write_config(&config);
    apply(&world);
    assert_eq!(
        world.tree("bundle/rootfs"),
        ["d dev", "d t", "l dev/console", "l dev/null", "l dev/ptmx"]
    );
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "content");
}

#[test]
fn names_that_begin_alike_are_no_neighbours() {
    let mut world = World::new();
    world.directory("vol/sub");
    world.bind("vol", "/data");
    world.tmpfs("/data/sub/x/y/z");
    world.tmpfs("/data/sub/x/yz");
    apply(&world);
    assert_eq!(
        world.tree("vol"),
        ["d sub", "d sub/x", "d sub/x/y", "d sub/x/y/z", "d sub/x/yz"]
    );
}
