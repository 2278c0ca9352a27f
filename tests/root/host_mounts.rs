// SPDX-License-Identifier: Apache-2.0
//! Host mounts in and below a source, in a mount namespace of the test's own.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output};

use serde_json::json;

use crate::common::mount_image::{checkpoint, container, entry};
use crate::common::{self, AsCriu, Ended, World, ended, output, skipped_without_root};

/// Calls `apply` on a world after a script in a mount namespace of its own; none without root. The script
/// has the world's directory as `$1`.
fn apply_after(world: &World, script: &str) -> Option<Ended> {
    let output = call_after(world, script, "apply --bundle \"$1/bundle\"");
    output.as_ref().map(ended)
}

fn call_after(world: &World, script: &str, arguments: &str) -> Option<Output> {
    if skipped_without_root("mount") {
        return None;
    }
    let script = format!("set -e; cd \"$1\"; {script}; exec \"$0\" {arguments}");
    let mut call = Command::new("unshare");
    call.args(["--mount", "sh", "-c", &script])
        .arg(common::binary())
        .arg(world.path(""));
    Some(output(&mut call))
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
    let script = "mount --bind vol vol; mount -o remount,bind,ro vol";
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/sub/x"));
    checkpoint(&world, &entries);
    let check = "check --bundle \"$1/bundle\" --checkpoint \"$1/bundle/checkpoint\" --format json";
    let Some(output) = call_after(&world, script, check) else {
        return;
    };
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["mounts"][1]["error"]["errno"], "EROFS", "{report}");
    assert_eq!(report["findings"][0]["kind"], "read-only", "{report}");
    assert_eq!(output.status.code(), Some(1));
    // And CRIU is sure to fail of it.
    fs::write(world.path("state"), world.state()).unwrap();
    let hook = "hook <\"$1/state\"";
    let hook = ended(&call_after(&world, script, hook).unwrap());
    assert_eq!(hook.status, 1, "{hook:?}");
}

/// As systemd-journald takes them, at the one place that journal clients know.
#[test]
fn the_journal_is_told_which_container_the_runtime_restores() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: it takes root to mount");
        return;
    }
    let world = world("bind");
    let socket = world.path("socket");
    let journal = UnixDatagram::bind(&socket).unwrap();
    journal.set_nonblocking(true).unwrap();
    let script = format!(
        "set -e; mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal; \
         : >/run/systemd/journal/socket; mount --bind '{}' /run/systemd/journal/socket; \
         exec \"$0\" action",
        socket.display()
    );
    let mut criu = AsCriu::restores(&world);
    criu.before = ["unshare", "--mount", "sh", "-c", &script]
        .map(str::to_owned)
        .into();
    // What comes last is the container's name, as in the runtime's arguments.
    let ended = criu.call(&["c1"]);
    assert!(world.path("vol/sub/x").is_dir(), "{ended:?}");
    let (mut message, mut all) = (vec![0; 4096], String::new());
    while let Ok(length) = journal.recv(&mut message) {
        all.push_str(&String::from_utf8_lossy(&message[..length]));
    }
    // The log's own form of a field: its name, the length of its value in eight bytes, the value. A line
    // is for what can't be looked at, one for what was made, one for the sum.
    let named = "PREMOUNT_CONTAINER\n\u{2}\0\0\0\0\0\0\0c1\n";
    assert_eq!(all.matches(named).count(), 3, "{all:?}");
}
