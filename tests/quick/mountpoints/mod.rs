// SPDX-License-Identifier: Apache-2.0
//! Where mountpoints live: each world is a rootfs, some sources and some mounts, and what `apply`
//! makes in them is what a runtime's first start would.

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
    assert_eq!(lacked.collect::<Vec<_>>(), made.collect::<Vec<_>>());
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
    let previous = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777));
    let ended = world.premount("apply");
    nix::sys::stat::umask(previous);
    assert_eq!(ended.status, 0);
    let mode = |path: &str| world.path(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("a/d"), mode("a/d/f")), (0o755, 0o644));
    assert_eq!(world.path("a/d/f").metadata().unwrap().len(), 0);
}

#[test]
fn links_are_resolved_in_the_containers_view() {
    let mut world = World::new();
    world.directory("bundle/rootfs/var");
    world.directory("bundle/rootfs/run");
    world.link("bundle/rootfs/var/run", "/run");
    world.link("bundle/rootfs/up", "../../../../run/./up//there/");
    world.directory("a");
    world.link("a/absolute", "/run/from-a");
    world.link("a/relative", "../run/rel");
    world.link("a/inside", "kept/../own");
    world.directory("a/kept");
    world.tmpfs("/var/run/one");
    world.tmpfs("/up/two");
    world.bind("a", "/a");
    world.tmpfs("/a/absolute/x");
    world.tmpfs("/a/relative/y");
    world.tmpfs("/a/inside/z");
    apply(&world);
    assert_eq!(
        world.tree("bundle/rootfs"),
        [
            "d a",
            "d run",
            "d run/from-a",
            "d run/from-a/x",
            "d run/one",
            "d run/rel",
            "d run/rel/y",
            "d run/up",
            "d run/up/there",
            "d run/up/there/two",
            "d var",
            "l up",
            "l var/run"
        ]
    );
    assert_eq!(
        world.tree("a"),
        [
            "d kept",
            "d own",
            "d own/z",
            "l absolute",
            "l inside",
            "l relative"
        ]
    );
}

#[test]
fn a_dangling_link_leads_to_what_is_made_there() {
    let mut world = World::new();
    world.link("bundle/rootfs/link", "gone/further");
    world.file("f");
    world.bind("f", "/link");
    world.tmpfs("/link2/../other");
    apply(&world);
    assert_eq!(
        world.tree("bundle/rootfs"),
        ["d gone", "d other", "f gone/further", "l link"]
    );
}

#[test]
fn a_link_leads_through_the_mounts_that_stand_before_it() {
    let mut world = World::new();
    world.directory("a");
    world.directory("b");
    world.link("a/link", "../b/deep");
    world.bind("a", "/a");
    world.bind("b", "/b");
    world.tmpfs("/a/link/x");
    apply(&world);
    assert_eq!(world.tree("bundle/rootfs"), ["d a", "d b"]);
    assert_eq!(world.tree("b"), ["d deep", "d deep/x"]);
}

#[test]
fn dot_dot_in_a_link_leaves_a_mount_by_its_mountpoint() {
    let mut world = World::new();
    world.directory("a");
    world.directory("b");
    world.link("b/out", "../sibling");
    world.bind("a", "/x/a");
    world.bind("b", "/x/a/b");
    world.tmpfs("/x/a/b/out");
    apply(&world);
    assert_eq!(world.tree("a"), ["d b", "d sibling"]);
    assert_eq!(world.tree("b"), ["l out"]);
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
                .contains("mount /two/x: the mountpoint has to be a directory")
        );
    }
    assert_eq!(world.tree("a"), ["f x"]);
}

#[test]
fn nothing_is_made_on_a_tmpfs_of_the_containers() {
    let mut world = World::new();
    world.directory("a");
    world.tmpfs("/t");
    world.bind("a", "/t/deep/a");
    world.tmpfs("/t/deep/a/x");
    world.tmpfs("/t/other/b");
    apply(&world);
    assert_eq!(world.tree("bundle/rootfs"), ["d t"]);
    assert_eq!(world.tree("a"), ["d x"]);
    let report = world.json("check");
    assert_eq!(report["mounts"][1]["status"], "restored");
}

#[test]
fn a_tmpcopyup_tmpfs_starts_as_a_copy_of_what_it_covers() {
    let mut world = World::new();
    world.directory("bundle/rootfs/run");
    world.directory("bundle/rootfs/var/lock");
    world.link("bundle/rootfs/run/lock", "/var/lock");
    world.directory("a");
    world.link("a/link", "/var/from-a");
    world.mount(json!({"destination": "/run", "type": "tmpfs", "options": ["tmpcopyup"]}));
    world.tmpfs("/run/lock/x");
    world.bind("a", "/a");
    world.mount(json!({"destination": "/a", "type": "tmpfs", "options": ["tmpcopyup"]}));
    world.tmpfs("/a/link/y");
    apply(&world);
    assert_eq!(
        world.tree("bundle/rootfs/var"),
        ["d from-a", "d from-a/y", "d lock", "d lock/x"]
    );
    assert_eq!(world.tree("a"), ["l link"]);
}

#[test]
fn a_plain_tmpfs_starts_empty() {
    let mut world = World::new();
    world.directory("bundle/rootfs/run");
    world.directory("bundle/rootfs/var");
    world.link("bundle/rootfs/run/lock", "/var/lock");
    world.tmpfs("/run");
    world.tmpfs("/run/lock/x");
    apply(&world);
    assert!(world.tree("bundle/rootfs/var").is_empty());
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
            "created", "created", "kernel", "unjudged", "created", "unjudged"
        ]
    );
    assert_eq!(world.tree("bundle/rootfs"), ["d o", "d proc", "d sys"]);
    let ended = common::premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0, "what can't be judged fails nothing");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            r#" INFO premount: mountpoint not judged mount="/proc/cpuinfo" below="proc""#,
            r#" INFO premount: mountpoint not judged mount="/o/below" below="overlay""#,
            " INFO premount: 6 mounts: 2 not judged",
        ]
    );
}

#[test]
fn nothing_is_made_in_a_source_on_a_kernel_file_system() {
    let mut world = World::new();
    world.mount(json!({"destination": "/p", "source": "/proc", "options": ["bind"]}));
    world.mount(json!({"destination": "/s", "source": "/sys/fs/cgroup", "options": ["rbind"]}));
    world.tmpfs("/p/premount-test");
    let report = world.json("apply");
    assert_eq!(report["mounts"][2]["status"], "unjudged");
}

#[test]
fn what_has_to_be_there_is_there_as_anything_but_the_other_kind() {
    let mut world = World::new();
    world.directory("bundle/rootfs/d");
    world.file("f");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&world.path("bundle/rootfs/fifo"), mode).unwrap();
    world.bind("f", "/fifo");
    world.tmpfs("/d");
    world.tmpfs("/");
    let before = world.state_of_all();
    apply(&world);
    assert_eq!(world.state_of_all(), before);
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
    let ended = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 32 && exec \"$0\" apply --bundle \"$1\""])
        .args([env!("CARGO_BIN_EXE_premount"), &world.bundle()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let ended = common::output_of(ended);
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

/// Findings of the fuzz target `walk`, at their smallest.
#[test]
fn a_copy_has_what_was_mounted_and_what_was_planned_by_then() {
    // A file that is mounted in what is copied.
    let mut world = World::new();
    world.file("f");
    world.directory("a");
    world.directory("bundle/rootfs/d");
    world.bind("f", "/d/f");
    world.mount(json!({"destination": "/d", "type": "tmpfs", "options": ["tmpcopyup"]}));
    world.bind("f", "/d/f");
    world.bind("a", "/d/g");
    apply(&world);
    // A directory that is only planned, with a mount in it that has a link.
    let mut world = World::new();
    world.directory("a");
    world.link("a/d", "/c");
    world.bind("a", "/d/d/d");
    world.mount(json!({"destination": "/d", "type": "tmpfs", "options": ["tmpcopyup"]}));
    world.tmpfs("/d/d/d/d");
    apply(&world);
    assert_eq!(
        world.tree("bundle/rootfs"),
        ["d c", "d d", "d d/d", "d d/d/d"]
    );
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
fn a_link_does_not_go_through_a_file_that_is_only_planned() {
    let mut world = World::new();
    world.directory("a");
    world.file("f");
    world.link("a/link", "d/..");
    world.bind("a", "/b");
    world.bind("a", "/b/b");
    world.bind("f", "/b/d");
    world.tmpfs("/b/b/link/x");
    for command in ["plan", "apply"] {
        let ended = world.premount(command);
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(
            ended
                .stderr
                .contains("something that is not a directory is in the way")
        );
    }
    assert_eq!(world.tree("a"), ["d b", "f d", "l link"]);
}

#[test]
fn proc_and_sys_that_are_links_lead_no_further_than_the_rootfs() {
    // CVE-2019-19921, CVE-2023-27561: /proc as a link, to have procfs somewhere else.
    let mut world = World::new();
    world.directory("outside");
    let outside = world.path("outside").to_str().unwrap().to_owned();
    world.link("bundle/rootfs/proc", "/elsewhere");
    world.link("bundle/rootfs/sys", &outside);
    world.mount(json!({"destination": "/proc", "type": "proc", "source": "proc"}));
    world.mount(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
    apply(&world);
    assert!(world.tree("outside").is_empty());
    assert!(world.path("bundle/rootfs/elsewhere").is_dir());
    assert!(world.path(&format!("bundle/rootfs{outside}")).is_dir());
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

/// crun(1), "crun extensions".
#[test]
fn a_link_that_is_copied_is_no_mount_and_one_that_is_not_followed_is_a_file() {
    let mut world = World::new();
    world.directory("vol");
    world.directory("sources/directory");
    world.link("sources/link", "real/deep");
    world.bind("vol", "/data");
    let bind = |source: &str, at: &str, option: &str| {
        let source = world.path(source);
        json!({"destination": at, "type": "bind", "source": source, "options": ["bind", option]})
    };
    let mounts = [
        bind("sources/link", "/data/sub/copied", "copy-symlink"),
        bind("sources/directory", "/data/no-link", "copy-symlink"),
        bind("sources/link", "/data/bound", "src-nofollow"),
    ];
    for mount in mounts {
        world.mount(mount);
    }
    // Through the link that crun makes, and through one that is there.
    world.tmpfs("/data/sub/copied/x");
    world.link("vol/there", "elsewhere");
    let source = world.path("sources/directory");
    world.mount(
        json!({"destination": "/data/there", "type": "bind", "source": source,
                       "options": ["bind", "dest-nofollow"]}),
    );
    world.tmpfs("/data/there2");
    let ended = world.premount("apply");
    // A directory on a link.
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("mount /data/there: the mountpoint has to be a directory")
    );
    assert_eq!(
        world.tree("vol"),
        [
            "d no-link",
            "d sub",
            "d sub/real",
            "d sub/real/deep",
            "d sub/real/deep/x",
            "d there2",
            "f bound",
            "l there",
        ]
    );
}

#[test]
fn a_copy_of_a_copy_has_what_was_mounted_in_the_first() {
    let mut world = World::new();
    world.directory("bundle/rootfs/a/there");
    world.directory("bound/inner");
    let copy = json!({"destination": "/a", "type": "tmpfs", "options": ["tmpcopyup"]});
    world.mount(copy.clone());
    world.bind("bound", "/a/bind");
    world.tmpfs("/a/made/deep");
    world.mount(copy.clone());
    world.tmpfs("/a/upper");
    world.mount(copy);
    world.directory("last");
    let resolved = |world: &World| {
        let plan = world.json("plan");
        let last = plan["mounts"].as_array().unwrap().last().unwrap().clone();
        (
            last["resolved"].as_str().unwrap().to_owned(),
            last["status"].clone(),
        )
    };
    world.link("bound/link", "../there/x");
    world.tmpfs("/a/bind/link");
    assert_eq!(
        resolved(&world),
        ("/a/there/x".to_owned(), json!("restored"))
    );
}

/// path_resolution(7): 40 links, and no more.
#[test]
fn forty_links_are_followed_and_no_more() {
    for (links, ends) in [(40, 0), (41, 1)] {
        let mut world = World::new();
        world.directory("bundle/rootfs/end");
        world.link("bundle/rootfs/l1", "end");
        for number in 2..=links {
            world.link(
                &format!("bundle/rootfs/l{number}"),
                &format!("l{}", number - 1),
            );
        }
        world.tmpfs(&format!("/l{links}/x"));
        let ended = world.premount("apply");
        assert_eq!(ended.status, ends, "{links}: {ended:?}");
        assert_eq!(world.path("bundle/rootfs/end/x").is_dir(), ends == 0);
        // Also by a way that was gone before.
        world.tmpfs(&format!("/l{links}/y"));
        world.tmpfs(&format!("/l{links}/z"));
        assert_eq!(world.premount("apply").status, ends);
        assert_eq!(world.path("bundle/rootfs/end/z").is_dir(), ends == 0);
    }
}

/// A way through a link is remembered, until something comes to it.
#[test]
fn a_mount_on_the_way_of_a_link_turns_it() {
    let mut world = World::new();
    world.directory("bundle/rootfs/real/deep");
    world.link("bundle/rootfs/l", "real/deep");
    world.directory("over/deep");
    world.directory("last");
    world.tmpfs("/l/a");
    world.bind("over", "/real");
    world.tmpfs("/l/b");
    world.bind("last", "/l");
    world.tmpfs("/l/c");
    assert_eq!(world.premount("apply").status, 0);
    assert_eq!(world.tree("bundle/rootfs/real"), ["d deep", "d deep/a"]);
    assert_eq!(world.tree("over"), ["d deep", "d deep/b"]);
    assert_eq!(world.tree("last"), ["d c"]);
}
