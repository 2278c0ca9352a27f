// SPDX-License-Identifier: Apache-2.0
//! What keeps a checkpoint from being restored, and what CRIU would report for it; tests/restore/diagnosis.rs
//! holds that against CRIU. And what of it fails a restore.

use std::fs;

use serde_json::{Value, json};

use crate::common::acting::{acted, with_volume};
use crate::common::mount_image::{MountEntry, checkpoint, container, entry};
use crate::common::{AsCriu, World, premount};

/// A mount that the runtime gives CRIU by this name.
fn external(id: u32, parent: u32, root: &str, at: &str, key: &str) -> MountEntry {
    MountEntry {
        ext_key: Some(key.into()),
        ..entry(id, parent, 100 + id, root, at)
    }
}

/// The findings: kind, mount, place on the host, CRIU's error.
fn findings(world: &World) -> Vec<(String, String, String, String)> {
    let (bundle, images) = (world.bundle(), world.path("bundle/checkpoint"));
    let images = images.to_str().unwrap();
    let call = ["check", "--checkpoint", images, "--bundle", &bundle];
    let ended = premount(&[&call[..], &["--format", "json"]].concat(), b"", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let text = |found: &Value, key: &str| found[key].as_str().unwrap_or("-").to_owned();
    let all = report["findings"].as_array().unwrap().iter();
    all.map(|found| {
        (
            text(found, "kind"),
            text(found, "mount"),
            text(found, "host_path"),
            text(found, "criu"),
        )
    })
    .collect()
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn each_finding_has_the_error_that_criu_would_report() {
    let mut world = World::new();
    for path in ["vol/wrong", "vol/masked", "bundle/rootfs/dev"] {
        world.directory(path);
    }
    for path in [
        "f",
        "vol/wrong-too",
        "bundle/rootfs/masked",
        "bundle/rootfs/dev/made",
    ] {
        world.file(path);
    }
    world.link("vol/loop", "loop");
    world.bind("vol", "/data");
    world.tmpfs("/data/missing");
    world.bind("f", "/data/wrong");
    world.tmpfs("/data/wrong-too");
    world.bind("gone", "/data/gone");
    world.bind("gone", "/unmounted");
    world.tmpfs("/data/unmounted");
    world.tmpfs("/data/loop/x");
    world.mount(json!({"destination": "/cgroup", "type": "cgroup", "source": "cgroup"}));
    let mut config = world.config();
    config["linux"] = json!({"maskedPaths": ["/masked"],
                             "devices": [{"path": "/dev/made", "type": "c", "major": 1, "minor": 3}]});
    world.write_config(&config);
    let mut entries = container();
    entries.extend([
        entry(10, 2, 10, "/", "/data/missing"),
        external(11, 2, "/f", "/data/wrong", "/data/wrong"),
        entry(12, 2, 12, "/", "/data/wrong-too"),
        external(13, 2, "/gone", "/data/gone", "/data/gone"),
        entry(14, 2, 14, "/", "/data/loop/x"),
        // Of the workload's.
        entry(20, 2, 20, "/", "/data/of-the-workload"),
        entry(21, 1, 21, "/", "/of-the-workload"),
        entry(22, 2, 2, "/vol/nobody-knows", "/data/unknown"),
        // What the configuration names, though it is no mount there.
        external(30, 1, "/null", "/masked", "/dev/null"),
        external(31, 1, "/null", "/dev/made", "/dev/made"),
        entry(32, 1, 32, "/", "/cgroup"),
        external(33, 32, "/", "/cgroup/memory", "/cgroup/memory"),
        external(
            34,
            2,
            "/.empty-directory",
            "/data/masked",
            "/crun/.empty-directory",
        ),
        // And what it doesn't.
        external(40, 99, "/", "/other", "/other"),
    ]);
    checkpoint(&world, &entries);
    let at = |path: &str| world.path(path).to_str().unwrap().to_owned();
    let stat = |path: &str| {
        format!(
            "Can't stat mountpoint {}: No such file or directory",
            at(path)
        )
    };
    let found = |kind: &str, mount: &str, place: &str, criu: &str| {
        let place = if place == "-" {
            place.to_owned()
        } else {
            at(place)
        };
        (kind.to_owned(), mount.to_owned(), place, criu.to_owned())
    };
    let missing =
        |mount: &str, place: &str| found("missing-mountpoint", mount, place, &stat(place));
    let unmounted = |mount: &str| found("not-in-checkpoint", mount, "-", "-");
    let no_source = |mount: &str| {
        let criu = format!(
            "Failed to open_tree {}: No such file or directory",
            at("gone")
        );
        found("missing-source", mount, "gone", &criu)
    };
    let move_mount = format!("Failed to move_mount from {}: Invalid argument", at("f"));
    let expected = [
        missing("/data/missing", "vol/missing"),
        found("wrong-kind", "/data/wrong", "vol/wrong", &move_mount),
        found(
            "wrong-kind",
            "/data/wrong-too",
            "vol/wrong-too",
            "Can't mount at: Not a directory",
        ),
        no_source("/data/gone"),
        no_source("/unmounted"),
        unmounted("/unmounted"),
        unmounted("/data/unmounted"),
        found("unreachable", "/data/loop/x", "vol/loop", &stat("vol/loop")),
        missing("/of-the-workload", "bundle/rootfs/of-the-workload"),
        found(
            "symbolic-link",
            "/data/loop/x",
            "vol/loop/x",
            &stat("vol/loop/x"),
        ),
        missing("/data/of-the-workload", "vol/of-the-workload"),
        found(
            "mountpoint-of-unknown-kind",
            "/data/unknown",
            "vol/unknown",
            &stat("vol/unknown"),
        ),
        found(
            "missing-source",
            "/data/unknown",
            "vol/nobody-knows",
            &format!(
                "Failed to open_tree {}: No such file or directory",
                at("vol/nobody-knows")
            ),
        ),
        found(
            "no-mapping",
            "/other",
            "-",
            "No mapping for 40:/other mountpoint",
        ),
    ];
    assert_eq!(findings(&world), expected);
    // With nothing masked, no device and no cgroup of version 1 nobody would name those either.
    let mut config = world.config();
    config["mounts"].as_array_mut().unwrap().pop();
    world.write_config(&config);
    let all = findings(&world).into_iter();
    let unmapped = all.filter(|(kind, ..)| kind == "no-mapping");
    let unmapped: Vec<String> = unmapped.map(|(_, mount, ..)| mount).collect();
    assert_eq!(
        unmapped,
        ["/masked", "/dev/made", "/cgroup/memory", "/other"]
    );
}

/// How the action script ends with these mounts beside those of [`container`] in the checkpoint.
fn status(world: &World, more: &[MountEntry]) -> i32 {
    checkpoint(world, &[&container(), more].concat());
    let ended = AsCriu::restores(world).call(&[]);
    assert!(acted(world), "{ended:?}");
    ended.status
}

#[test]
fn what_criu_may_get_by_without_fails_no_restore() {
    // Something is in the way by the configuration, where the checkpoint may know another one.
    let mut world = with_volume();
    world.file("f");
    world.bind("vol", "/too");
    world.bind("f", "/data/x");
    world.tmpfs("/too/x/y");
    let own = [
        external(3, 1, "/vol", "/too", "/too"),
        entry(4, 3, 9, "/", "/too/x/y"),
    ];
    assert_eq!(status(&world, &own), 0);
    // By the checkpoint there is no other.
    let mut world = with_volume();
    world.file("vol/file");
    assert_eq!(status(&world, &[entry(3, 2, 9, "/", "/data/file/x")]), 1);
    // A source that isn't there, of what CRIU mounts itself; and of what it gets from the runtime.
    world.bind("gone", "/data/gone");
    assert_eq!(status(&world, &[entry(3, 2, 9, "/", "/data/gone")]), 0);
    let gone = external(3, 2, "/gone", "/data/gone", "/data/gone");
    assert_eq!(status(&world, std::slice::from_ref(&gone)), 1);
    // One that premount can't open is not one that the runtime can't.
    world.link("gone", "gone");
    assert_eq!(status(&world, std::slice::from_ref(&gone)), 0);
    fs::remove_file(world.path("gone")).unwrap();
    fs::create_dir(world.path("gone")).unwrap();
    assert_eq!(status(&world, &[gone]), 0);
}

/// runc creates the mountpoints of the configuration before it calls CRIU, but not those below a tmpfs by name; and
/// none of those that only the checkpoint has.
#[test]
fn what_runc_creates_itself_is_no_reason_to_fail() {
    let key = |id, parent, at: &str| external(id, parent, "/n", at, at);
    for (volume, only_checkpoint, reasons) in [
        ("/data", false, [0, 1]),
        ("/run/data", false, [1, 1]),
        ("/data", true, [1, 2]),
    ] {
        let mut world = World::new();
        for path in ["vol", "n", "bundle/rootfs/data", "bundle/rootfs/run/data"] {
            world.directory(path);
        }
        world.tmpfs("/run");
        world.bind("vol", volume);
        let nested = format!("{volume}/nested");
        world.bind("n", &nested);
        let mut mounts = vec![
            entry(1, 0, 1, "/rootfs", "/"),
            entry(2, 1, 2, "/", "/run"),
            key(3, if volume == "/data" { 1 } else { 2 }, volume),
            key(4, 3, &nested),
        ];
        if only_checkpoint {
            mounts.push(entry(5, 3, 9, "/", &format!("{volume}/own")));
        }
        checkpoint(&world, &mounts);
        let (bundle, images) = (world.bundle(), world.path("bundle/checkpoint"));
        let images = images.to_str().unwrap();
        for (runtime, reasons) in ["runc", "crun"].into_iter().zip(reasons) {
            let call = ["check", "--checkpoint", images, "--bundle", &bundle];
            let ended = premount(
                &[&call[..], &["--runtime", runtime, "--format", "json"]].concat(),
                b"",
                &[],
            );
            let report: Value = serde_json::from_str(&ended.stdout).unwrap();
            let findings = report["findings"].as_array().unwrap();
            let missing = findings
                .iter()
                .filter(|found| found["kind"] == "missing-mountpoint");
            assert_eq!(missing.count(), reasons, "{runtime} {volume}: {ended:?}");
            assert_eq!(
                ended.status == 0,
                reasons == 0,
                "{runtime} {volume}: {ended:?}"
            );
        }
    }
}
