// SPDX-License-Identifier: Apache-2.0
//! Symbolic links on the way to a mountpoint, in the rootfs and in the sources.

use serde_json::json;

use super::apply;
use crate::common::World;

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
fn dot_dot_in_what_is_missing_leads_to_what_is_missing() {
    let mut world = World::new();
    world.link("bundle/rootfs/link", "gone/deep/../kept");
    world.tmpfs("/link");
    apply(&world);
    assert_eq!(
        world.tree("bundle/rootfs"),
        ["d gone", "d gone/kept", "l link"]
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
            .contains("mount /data/there: it has to be a directory")
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
fn a_mount_that_follows_no_link_is_wanted_as_what_is_there_and_follows_links_on_its_way() {
    let mut world = World::new();
    world.directory("vol/real/there");
    world.link("vol/link", "real");
    world.bind("vol", "/data");
    let source = world.path("vol");
    for destination in ["/data/missing", "/data/link/there"] {
        world.mount(
            json!({"destination": destination, "type": "bind", "source": source,
                   "options": ["bind", "dest-nofollow"]}),
        );
    }
    let report = world.json("apply");
    assert_eq!(report["mounts"][1]["status"], "kind-unknown");
    assert_eq!(report["mounts"][2]["status"], "present");
    assert_eq!(report["mounts"][2]["resolved"], "/data/real/there");
    assert_eq!(world.tree("vol"), ["d real", "d real/there", "l link"]);
}

/// path_resolution(7): 40 links, and no more.
#[test]
fn forty_links_are_followed_and_no_more() {
    for (links, ends, part_is_known) in [(40, 0, false), (41, 1, false), (41, 1, true)] {
        let mut world = World::new();
        world.directory("bundle/rootfs/end");
        if part_is_known {
            world.tmpfs("/l20/w");
        }
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

/// Nor does the kernel's own `..` say where it leads: it knows nothing of the mounts to come.
#[test]
fn a_link_to_the_directory_above_leads_to_that_very_place() {
    let mut world = World::new();
    world.directory("vol/sub");
    world.link("vol/sub/up", "..");
    world.directory("over");
    let source = world.path("vol");
    world.mount(json!({"destination": "/data/x", "source": source, "options": ["bind"]}));
    world.bind("over", "/data/x/sub/up");
    world.tmpfs("/data/x/made");
    apply(&world);
    assert_eq!(world.tree("over"), ["d made"]);
    let report = world.json("check");
    assert_eq!(report["mounts"][1]["resolved"], "/data/x");
}

#[test]
fn a_mount_before_the_mount_that_a_link_leads_through_turns_it() {
    let mut world = World::new();
    world.directory("bundle/rootfs/real/deep/m");
    world.link("bundle/rootfs/l", "real/deep/m/end");
    world.directory("m/end");
    world.directory("over/deep/m/end");
    world.bind("m", "/real/deep/m");
    world.tmpfs("/l/a");
    world.bind("over", "/real");
    world.tmpfs("/l/b");
    apply(&world);
    assert_eq!(world.tree("m"), ["d end", "d end/a"]);
    assert_eq!(world.tree("over/deep/m"), ["d end", "d end/b"]);
}

#[test]
fn a_mount_behind_the_end_of_a_link_is_not_its_end() {
    let mut world = World::new();
    world.directory("bundle/rootfs/real");
    world.link("bundle/rootfs/l", "real");
    world.directory("m");
    world.bind("m", "/real/m");
    world.tmpfs("/l/m/a");
    world.tmpfs("/l/b");
    apply(&world);
    assert_eq!(world.tree("bundle/rootfs/real"), ["d b", "d m"]);
    assert_eq!(world.tree("m"), ["d a"]);
}

#[test]
fn a_way_through_what_is_missing_is_walked_anew() {
    let mut world = World::new();
    world.directory("vol");
    world.file("f");
    world.bind("vol", "/one");
    world.bind("vol", "/two");
    world.link("source", "x/../..");
    let source = world.path("source");
    world.mount(
        json!({"destination": "/two/m/l", "type": "bind", "source": source,
                       "options": ["bind", "copy-symlink"]}),
    );
    world.tmpfs("/two/m/l/a");
    // What is to be a file is no way any more.
    world.bind("f", "/one/m/x");
    world.tmpfs("/two/m/l/b");
    let ended = world.premount("apply");
    assert_eq!(
        (ended.status, ended.stderr.lines().count()),
        (1, 1),
        "{ended:?}"
    );
    let said = "mount /two/m/l/b: something that is not a directory is in the way: ";
    assert!(ended.stderr.contains(said), "{ended:?}");
    assert_eq!(world.tree("vol"), ["d a", "d m", "f m/x"]);
}

/// The texts of links and what comes behind them are no longer together than two paths can be.
#[test]
fn a_way_through_links_has_8191_bytes_at_most() {
    for (slash, ends) in [("", 0), ("/", 1)] {
        let mut world = World::new();
        world.directory("bundle/rootfs/real");
        world.link("bundle/rootfs/l1", &format!("l2/{}.", "./".repeat(2045)));
        let text = format!("{}{slash}real", "./".repeat(548));
        world.link("bundle/rootfs/l2", &text);
        let name = "n".repeat(249);
        let behind = [name.as_str(); 12].join("/");
        // What is left of the first text, a slash, and what comes behind the link.
        assert_eq!(4091 + 1 + behind.len() + text.len(), 8191 + slash.len());
        world.tmpfs(&format!("/l1/{behind}"));
        let ended = world.premount("apply");
        assert_eq!(ended.status, ends, "{ended:?}");
        let is_too_long = ended.stderr.contains("the path is too long");
        assert_eq!(is_too_long, ends == 1, "{ended:?}");
        let made = world.path("bundle/rootfs/real").join(behind);
        assert_eq!(made.is_dir(), ends == 0, "{ended:?}");
    }
}

#[test]
fn a_link_that_was_the_second_on_a_way_counts_for_one() {
    let mut world = World::new();
    world.directory("bundle/rootfs/end/real");
    world.link("bundle/rootfs/first", "second");
    world.link("bundle/rootfs/second", "end");
    world.link("bundle/rootfs/end/l1", "real");
    for number in 2..=39 {
        let text = format!("l{}", number - 1);
        world.link(&format!("bundle/rootfs/end/l{number}"), &text);
    }
    world.tmpfs("/first/x");
    world.tmpfs("/second/l39/x");
    apply(&world);
    assert_eq!(world.tree("bundle/rootfs/end/real"), ["d x"]);
}

#[test]
fn a_link_beside_a_mountpoint_leads_through_the_mount() {
    let mut world = World::new();
    world.directory("bundle/rootfs/dir/mount");
    world.link("bundle/rootfs/dir/link", "mount/sub");
    world.directory("vol/sub");
    world.bind("vol", "/dir/mount");
    world.tmpfs("/dir/link/x");
    apply(&world);
    assert_eq!(world.tree("vol"), ["d sub", "d sub/x"]);
}
