// SPDX-License-Identifier: Apache-2.0
//! Mountpoints on a tmpfs of the container: an empty one, and one that starts as a copy of what it covers.

use serde_json::json;

use super::apply;
use crate::common::World;

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

#[test]
fn a_copy_of_a_copy_has_what_the_first_covers() {
    let mut world = World::new();
    world.directory("bundle/rootfs/a");
    world.directory("bundle/rootfs/var");
    world.link("bundle/rootfs/a/link", "/var");
    for _ in 0..2 {
        world.mount(json!({"destination": "/a", "type": "tmpfs", "options": ["tmpcopyup"]}));
    }
    world.tmpfs("/a/link/x");
    apply(&world);
    assert_eq!(world.tree("bundle/rootfs/var"), ["d x"]);
    // But nothing of what a plain tmpfs in between has covered.
    let mut world = World::new();
    world.directory("bundle/rootfs/a");
    world.directory("bundle/rootfs/var");
    world.link("bundle/rootfs/a/link", "/var");
    world.tmpfs("/a");
    world.mount(json!({"destination": "/a", "type": "tmpfs", "options": ["tmpcopyup"]}));
    world.tmpfs("/a/link/x");
    apply(&world);
    assert!(world.tree("bundle/rootfs/var").is_empty());
}

#[test]
fn a_copy_in_a_tmpfs_takes_nothing_from_it() {
    let mut world = World::new();
    world.directory("a");
    world.tmpfs("/t");
    world.bind("a", "/t/a");
    world.mount(json!({"destination": "/t/sub", "type": "tmpfs", "options": ["tmpcopyup"]}));
    world.tmpfs("/t/a/x");
    apply(&world);
    assert_eq!(world.tree("a"), ["d x"]);
}

#[test]
fn a_tmpfs_has_what_is_made_there_for_earlier_mounts() {
    let mut world = World::new();
    world.directory("vol");
    world.file("f");
    world.link("source", "/data");
    world.bind("vol", "/data");
    world.tmpfs("/t");
    world.bind("f", "/t/directory/file");
    world.tmpfs("/t/directory/beside");
    world.tmpfs("/t/directory/file/below");
    // No link is copied to where a directory is.
    let source = world.path("source");
    world.mount(
        json!({"destination": "/t/directory", "type": "bind", "source": source,
               "options": ["bind", "copy-symlink"]}),
    );
    world.tmpfs("/t/directory/x");
    let ended = world.premount("apply");
    assert_eq!(
        (ended.status, ended.stderr.lines().count()),
        (1, 1),
        "{ended:?}"
    );
    let said = "mount /t/directory/file/below: something that is not a directory is in the way";
    assert!(ended.stderr.contains(said), "{ended:?}");
    assert!(world.tree("vol").is_empty());
}

#[test]
fn a_link_that_is_copied_onto_a_tmpfs_is_one_unless_something_stands_there() {
    let mut world = World::new();
    world.directory("vol");
    world.directory("bundle/rootfs/copied/tmpfs");
    world.link("source", "/data");
    world.bind("vol", "/data");
    let source = world.path("source");
    let link = |at: &str| {
        json!({"destination": at, "type": "bind", "source": source,
               "options": ["bind", "copy-symlink"]})
    };
    world.tmpfs("/t");
    world.mount(link("/t/link"));
    world.tmpfs("/t/link/through");
    // In a copy stands what was mounted in what it is a copy of.
    world.tmpfs("/copied/tmpfs");
    world.mount(json!({"destination": "/copied", "type": "tmpfs", "options": ["tmpcopyup"]}));
    world.mount(link("/copied/tmpfs"));
    world.tmpfs("/copied/tmpfs/no-link");
    apply(&world);
    assert_eq!(world.tree("vol"), ["d through"]);
}

/// What the runtime makes on a tmpfs for a mount is there when that tmpfs is copied.
#[test]
fn a_copy_has_the_files_and_directories_that_were_made_in_what_it_copies() {
    let mut world = World::new();
    world.file("f");
    world.directory("vol");
    world.bind("vol", "/data");
    world.link("source", "/data");
    let source = world.path("source");
    let link = |at: &str| {
        json!({"destination": at, "type": "bind", "source": source,
               "options": ["bind", "copy-symlink"]})
    };
    world.tmpfs("/t");
    world.bind("f", "/t/file");
    world.bind("f", "/t/directory/more/file");
    // No link where a directory is.
    world.mount(link("/t/directory/more"));
    world.tmpfs("/t/directory/more/no-link");
    world.mount(json!({"destination": "/t", "type": "tmpfs", "options": ["tmpcopyup"]}));
    world.mount(link("/t/directory"));
    world.tmpfs("/t/directory/no-link");
    // No way through a file.
    world.tmpfs("/t/file/x");
    world.tmpfs("/t/directory/more/file/x");
    let ended = world.premount("apply");
    assert_eq!(
        (ended.status, ended.stderr.lines().count()),
        (1, 2),
        "{ended:?}"
    );
    for lost in ["/t/file/x", "/t/directory/more/file/x"] {
        let said =
            format!("mount {lost}: something that is not a directory is in the way: openat2: ");
        assert!(ended.stderr.contains(&said), "{ended:?}");
    }
    assert!(world.tree("vol").is_empty());
}
