// SPDX-License-Identifier: Apache-2.0
//! What one call makes, says and keeps in memory has an end, whatever a tenant's destinations or a
//! checkpoint's images ask for.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::mount_image::{MountEntry, checkpoint, container, entry};
use crate::common::{self, AsCriu, Ended, World, premount};

/// A world with a volume at /data, a tmpfs in it that is missing, and a checkpoint.
fn world(entries: &[MountEntry]) -> World {
    let mut world = World::new();
    world.directory("vol");
    world.bind("vol", "/data");
    world.tmpfs("/data/configured");
    checkpoint(&world, entries);
    world
}

fn apply(world: &World, more: &[&str]) -> Ended {
    let (bundle, images) = (world.bundle(), world.path("bundle/checkpoint"));
    let arguments = [
        "apply",
        "--bundle",
        &bundle,
        "--images",
        images.to_str().unwrap(),
    ];
    premount(&[&arguments[..], more].concat(), b"", &[])
}

/// So many mounts of the workload's, each with a path of its own of so many components.
fn workload(mounts: u32, components: usize) -> Vec<MountEntry> {
    let below = "/d".repeat(components - 1);
    let mount = |number| {
        entry(
            number + 10,
            2,
            number + 10,
            "/",
            &format!("/data/{number}{below}"),
        )
    };
    container()
        .into_iter()
        .chain((0..mounts).map(mount))
        .collect()
}

#[test]
fn images_that_ask_for_too_much_get_nothing_and_the_configuration_all() {
    let world = world(&workload(200, 100));
    for ended in [
        AsCriu::restores(&world).call(&[]),
        premount(&[], world.state().as_bytes(), &[]),
    ] {
        assert_eq!(ended.status, 0, "{ended:?}");
        assert_eq!(
            ended.stderr.matches("needs more than 10000 inodes").count(),
            1,
            "{ended:?}"
        );
        assert_eq!(world.tree("vol"), ["d configured"]);
    }
    let by_hand = apply(&world, &[]);
    assert_eq!(
        (by_hand.status, by_hand.stderr.lines().count()),
        (1, 1),
        "{by_hand:?}"
    );
    assert_eq!(world.tree("vol"), ["d configured"]);
    // Its other mounts are not compared, and may be what CRIU fails at.
    let (bundle, images) = (world.bundle(), world.path("bundle/checkpoint"));
    let images = images.to_str().unwrap();
    let checked = premount(
        &["check", "--checkpoint", images, "--bundle", &bundle],
        b"",
        &[],
    );
    assert_eq!(checked.status, 1, "{checked:?}");
    assert!(checked.stdout.contains("\nIt is unknown"), "{checked:?}");
    let raised = apply(&world, &["--max-inodes", "20000"]);
    assert_eq!((raised.status, raised.stderr.as_str()), (0, ""));
    assert_eq!(world.tree("vol").len(), 20_001);
}

#[test]
fn images_of_too_many_mounts_get_nothing_even_if_all_is_there() {
    let world = world(&workload(10_001, 1));
    let ended = AsCriu::restores(&world).call(&[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("has more than 10000 mounts"),
        "{ended:?}"
    );
    assert_eq!(world.tree("vol"), ["d configured"]);
    checkpoint(&world, &workload(10_000, 1));
    let ended = AsCriu::restores(&world).call(&[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(world.tree("vol").len(), 10_001);
}

#[test]
fn a_configuration_that_lacks_too_much_is_made_as_far_as_it_goes() {
    let mut world = World::new();
    world.directory("vol");
    world.bind("vol", "/data");
    for name in ["a", "b", "c"] {
        world.tmpfs(&format!("/data/{name}/x/y"));
    }
    let bundle = world.bundle();
    let ended = premount(
        &["apply", "--bundle", &bundle, "--max-inodes", "8"],
        b"",
        &[],
    );
    assert_eq!(ended.status, 1, "{ended:?}");
    let said = "mount /data/c/x/y: more is missing than one call creates (see --max-inodes): ";
    assert!(
        ended.stderr.contains(said) && ended.stderr.contains("(EDQUOT)"),
        "{ended:?}"
    );
    assert_eq!(
        world.tree("vol"),
        ["d a", "d a/x", "d a/x/y", "d b", "d b/x", "d b/x/y"]
    );
    assert_eq!(world.premount("apply").status, 0);
    assert_eq!(world.tree("vol").len(), 9);
}

/// 200 KB of it once took 782 MB and wrote 578 MB.
#[test]
fn deep_destinations_take_little_memory_and_say_little() {
    let deep = "/d".repeat(1990);
    let nested =
        |number: u32| json!({"destination": format!("/data/{number}{deep}"), "type": "tmpfs"});
    for (task, format, count) in [
        ("plan", "text", 50),
        ("plan", "json", 50),
        ("check", "text", 50),
        ("apply", "text", 5),
        ("apply", "json", 5),
    ] {
        let world = World::new();
        let source = world.directory("vol");
        let bind = json!({"destination": "/data", "source": source, "options": ["bind"]});
        for backing in [json!({"destination": "/data", "type": "tmpfs"}), bind] {
            let mounts: Vec<Value> = std::iter::once(backing)
                .chain((0..count).map(nested))
                .collect();
            world.write_config(
                &json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": mounts}),
            );
            let output = Command::new("sh")
                .args(["-c", "ulimit -v 98304 && exec \"$0\" \"$@\""])
                .arg(common::binary())
                .args([task, "--bundle", &world.bundle(), "--format", format])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let ended = output.status.code();
            assert!(
                ended.is_some_and(|code| code < 2),
                "{task} {format}: {said}"
            );
            let length = output.stdout.len();
            assert!(length < 20 << 20, "{task} {format}: {length} bytes");
            if length > 4 << 20 {
                let text = String::from_utf8_lossy(&output.stdout);
                let more = ["more that are not listed", "\"unlisted\": "];
                assert!(
                    more.iter().any(|more| text.contains(more)),
                    "{task} {format}"
                );
            }
        }
        // Too deep for most that remove a tree by its path.
        assert!(
            Command::new("rm")
                .arg("-rf")
                .arg(&source)
                .status()
                .unwrap()
                .success()
        );
    }
}

#[test]
fn the_log_of_a_restore_ends_too() {
    let mut world = World::new();
    world.directory("vol");
    world.bind("vol", "/data");
    for number in 0..5 {
        world.tmpfs(&format!("/data/{number}{}", "/d".repeat(1990)));
    }
    let ended = premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0);
    assert!(
        ended.stderr.len() < 20 << 20,
        "{} bytes",
        ended.stderr.len()
    );
    assert!(
        ended.stderr.contains(" more that are not listed"),
        "it ends"
    );
    assert!(
        ended.stderr.contains("6 mounts: created 9956 directories"),
        "the sum"
    );
    assert!(
        Command::new("rm")
            .arg("-rf")
            .arg(world.path("vol"))
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn ten_thousand_nested_mounts_with_32_descriptors() {
    let world = World::new();
    world.directory("a");
    let source = world.path("a");
    let mut mounts = vec![json!({"destination": "/a", "source": source, "options": ["bind"]})];
    for index in 0..10_000 {
        let destination = format!("/a/{}/{}", index / 100, index % 100);
        mounts.push(json!({"destination": destination, "source": source, "options": ["rbind"]}));
    }
    // And one in the other, as deep as a path can be.
    let mut deep = String::from("/deep");
    for _ in 0..1000 {
        deep.push_str("/d");
        mounts.push(json!({"destination": deep, "source": source, "options": ["bind"]}));
    }
    world.write_config(&json!({"root": {"path": "rootfs"}, "mounts": mounts}));
    let output = world.shell("ulimit -n 32 && exec \"$0\" apply --bundle \"$1\"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}",
        said.chars().take(500).collect::<String>()
    );
    assert_eq!(world.tree("a").len(), 100 + 10_000 + 1);
    assert_eq!(world.premount("check").status, 0);
}
