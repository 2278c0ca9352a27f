// SPDX-License-Identifier: Apache-2.0
//! What `check --checkpoint` finds of one mount after the other; diagnosis.rs has all findings at once.

use std::fs;

use serde_json::{Value, json};

use crate::common::mount_image::{MountEntry, container, entry, image};
use crate::common::{World, premount};

/// A world with a volume at /data, and files and directories in the way.
fn world() -> World {
    let mut world = World::new();
    world.directory("bundle/rootfs/data");
    world.directory("vol/directory");
    world.file("vol/file");
    world.file("f");
    world.directory("images");
    world.bind("vol", "/data");
    world
}

/// A mount that the runtime gives CRIU.
fn external(id: u32, parent: u32, at: &str, key: &str) -> MountEntry {
    MountEntry {
        ext_key: Some(key.into()),
        ..entry(id, parent, 40 + id, "/shown", at)
    }
}

/// What `check` finds, and its exit status.
fn findings(world: &World, entries: &[MountEntry]) -> (Vec<Value>, i32) {
    let images = world.path("images");
    fs::write(images.join("mountpoints-12.img"), image(entries)).unwrap();
    let (images, bundle) = (images.to_str().unwrap(), world.bundle());
    let arguments = ["check", "--checkpoint", images, "--bundle", &bundle];
    let ended = premount(&[&arguments[..], &["--format", "json"]].concat(), b"", &[]);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    (report["findings"].as_array().unwrap().clone(), ended.status)
}

/// The one thing that is found: what, of which mount, where, and what CRIU would say.
fn found(world: &World, entries: &[MountEntry]) -> (Value, Value, Value, Value) {
    let (findings, status) = findings(world, entries);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let found = &findings[0];
    assert_eq!(status, i32::from(found["kind"] != "not-in-checkpoint"));
    let of = |key: &str| found[key].clone();
    (of("kind"), of("mount"), of("host_path"), of("criu"))
}

fn with(entry: MountEntry) -> Vec<MountEntry> {
    [container(), vec![entry]].concat()
}

#[test]
fn what_the_workload_mounted_is_found_where_it_lies() {
    let world = world();
    let at = |path: &str| world.path("vol").join(path).to_str().unwrap().to_owned();
    assert_eq!(findings(&world, &container()), (vec![], 0));
    let stat = |path: &str| {
        format!(
            "Can't stat mountpoint {}: No such file or directory",
            at(path)
        )
    };
    let tmpfs = |path: &str| entry(3, 2, 9, "/", path);
    for (entry, kind, path, criu) in [
        (tmpfs("/data/x"), "missing-mountpoint", "x", stat("x")),
        (
            tmpfs("/data/file"),
            "wrong-kind",
            "file",
            "Can't mount at: Not a directory".to_owned(),
        ),
        (tmpfs("/data/file/x"), "unreachable", "file", stat("file")),
    ] {
        let mount = format!("/{}", String::from_utf8_lossy(&entry.mountpoint[1..]));
        let expected = (json!(kind), json!(mount), json!(at(path)), json!(criu));
        assert_eq!(found(&world, &with(entry)), expected);
    }
    // What the workload has bound from its volume to another place there.
    let inner = |at: &str| {
        let (all, status) = findings(&world, &with(entry(3, 2, 2, "/vol/gone", at)));
        assert_eq!(status, 1);
        let told = |found: &Value| ["kind", "host_path", "criu"].map(|key| found[key].clone());
        all.iter().map(told).collect::<Vec<_>>()
    };
    let place = at("gone");
    let criu = format!("Failed to open_tree {place}: No such file or directory");
    let no_source = [json!("missing-source"), json!(place), json!(criu)];
    assert_eq!(inner("/data/file"), std::slice::from_ref(&no_source));
    let unknown = [
        json!("mountpoint-of-unknown-kind"),
        json!(at("x")),
        json!(stat("x")),
    ];
    assert_eq!(inner("/data/x"), [unknown, no_source]);
    // What is missing in the rootfs every runtime makes, but for what only the checkpoint has.
    let of_rootfs = entry(3, 1, 9, "/", "/of-the-workload");
    let kind = found(&world, &with(of_rootfs)).0;
    assert_eq!(kind, "missing-mountpoint");
}

#[test]
fn what_the_configuration_has_is_found_where_the_checkpoint_has_it() {
    let in_volume = |key: &str| external(3, 2, key, key);
    let path = |world: &World, path: &str| world.path(path).to_str().unwrap().to_owned();

    let mut world = world();
    world.bind("f", "/in-the-rootfs");
    let in_rootfs = external(3, 1, "/in-the-rootfs", "/in-the-rootfs");
    assert_eq!(findings(&world, &with(in_rootfs)), (vec![], 0));
    let expected = (
        json!("not-in-checkpoint"),
        json!("/in-the-rootfs"),
        Value::Null,
        Value::Null,
    );
    assert_eq!(found(&world, &container()), expected);

    let mut world = self::world();
    world.bind("f", "/data/x");
    let kind = found(&world, &with(in_volume("/data/x"))).0;
    assert_eq!(kind, "missing-mountpoint");

    let mut world = self::world();
    world.bind("f", "/data/directory");
    let source = path(&world, "f");
    let expected = (
        json!("wrong-kind"),
        json!("/data/directory"),
        json!(path(&world, "vol/directory")),
        json!(format!(
            "Failed to move_mount from {source}: Invalid argument"
        )),
    );
    assert_eq!(found(&world, &with(in_volume("/data/directory"))), expected);

    // The source of each is opened, whether the checkpoint has it or not.
    let mut world = self::world();
    world.bind("gone", "/data/x");
    let source = path(&world, "gone");
    let expected = (
        json!("missing-source"),
        json!("/data/x"),
        json!(source),
        json!(format!(
            "Failed to open_tree {source}: No such file or directory"
        )),
    );
    assert_eq!(found(&world, &with(in_volume("/data/x"))), expected);
    let (findings, status) = findings(&world, &container());
    let kinds: Vec<_> = findings.iter().map(|found| &found["kind"]).collect();
    assert_eq!(kinds, ["missing-source", "not-in-checkpoint"]);
    assert_eq!(findings[0]["host_path"], source);
    assert_eq!(findings[1]["host_path"], Value::Null);
    assert_eq!(status, 1);
}

#[test]
fn what_comes_from_outside_has_to_be_named_in_the_configuration() {
    let mut world = world();
    world.mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}));
    let mut config = world.config();
    let cgroup = entry(3, 1, 9, "/", "/sys/fs/cgroup");
    let is_mapped = |at: &str, key: &str| {
        let entries = [with(cgroup.clone()), vec![external(7, 1, at, key)]].concat();
        let (mut findings, _) = findings(&world, &entries);
        // That it isn't there is another thing.
        findings.retain(|found| found["kind"] == "no-mapping");
        for found in &findings {
            assert_eq!(found["mount"], at);
            assert_eq!(found["host_path"], Value::Null);
            assert_eq!(found["criu"], format!("No mapping for 7:{at} mountpoint"));
        }
        findings.is_empty()
    };
    assert!(!is_mapped("/other", "/other"));
    assert!(!is_mapped("/other", "other"));
    assert!(is_mapped("/elsewhere", "/data") && is_mapped("/elsewhere", "data"));
    // A hierarchy of cgroups.
    assert!(is_mapped("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory"));
    assert!(!is_mapped("/sys/fs/cgroup", "/sys/fs/cgroup"));
    assert!(!is_mapped("/sys/fs/cgroups", "/sys/fs/cgroups"));
    // What is masked, and devices.
    assert!(!is_mapped("/proc/kcore", "/dev/null") && !is_mapped("/proc/kcore", "/proc/kcore"));
    assert!(!is_mapped("/dev/fuse", "/dev/fuse"));
    config["linux"] = json!({
        "maskedPaths": ["/proc/kcore"],
        "devices": [{"path": "/dev/fuse", "type": "c"}],
    });
    world.write_config(&config);
    assert!(is_mapped("/proc/kcore", "/dev/null") && is_mapped("/proc/kcore", "/proc/kcore"));
    assert!(is_mapped("/dev/fuse", "/dev/fuse") && !is_mapped("/dev/tty", "/dev/tty"));
}
