// SPDX-License-Identifier: Apache-2.0
//! Mounts of the host's in and below a source, in a mount namespace of the test's own; takes root.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::common::{self, Ended, World, ended, skipped_without_root};

/// Calls `apply` on a world after a script in a mount namespace of its own; none without root. The script
/// has the world's directory as `$1`.
fn apply_after(world: &World, script: &str) -> Option<Ended> {
    if skipped_without_root("mount") {
        return None;
    }
    let script = format!("set -e; cd \"$1\"; {script}; exec \"$0\" apply --bundle \"$1/bundle\"");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .arg(common::binary())
        .arg(world.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Some(ended(&output))
}

fn world(option: &str) -> World {
    let mut world = World::new();
    world.directory("bundle/rootfs/data");
    world.directory("vol/sub");
    let source = world.path("vol");
    world.mount(
        json!({"destination": "/data", "type": "bind", "source": source, "options": [option]}),
    );
    world.tmpfs("/data/sub/x");
    world
}

#[test]
fn a_read_only_source_is_told_before_anything_is_tried() {
    for option in ["bind", "rbind"] {
        let world = world(option);
        let script = "mount --bind vol vol; mount -o remount,bind,ro vol";
        let Some(ended) = apply_after(&world, script) else {
            return;
        };
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(
            ended
                .stderr
                .contains("vol/sub/x: mkdirat: Read-only file system (EROFS)"),
            "{ended:?}"
        );
        // As a plan says it, too.
        assert!(ended.stdout.contains("1 failed"), "{ended:?}");
        assert_eq!(world.tree("vol"), ["d sub"]);
    }
}

#[test]
fn a_mount_of_the_host_s_is_in_view_with_rbind_alone() {
    for (option, made) in [("bind", true), ("rbind", false)] {
        let world = world(option);
        let script = "mount -t tmpfs tmpfs vol/sub";
        let Some(ended) = apply_after(&world, script) else {
            return;
        };
        assert_eq!(ended.status, 0, "{ended:?}");
        // Below the host's mount, which is gone with its namespace; or on it.
        assert_eq!(
            world.path("vol/sub/x").is_dir(),
            made,
            "{option}: {ended:?}"
        );
    }
}

#[test]
fn a_plan_knows_that_a_source_is_read_only() {
    let world = world("bind");
    if skipped_without_root("mount") {
        return;
    }
    let script = "set -e; cd \"$1\"; mount --bind vol vol; mount -o remount,bind,ro vol; \
                  exec \"$0\" check --bundle \"$1/bundle\" --format json";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(common::binary())
        .arg(world.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["mounts"][1]["error"]["errno"], "EROFS", "{report}");
}
