// SPDX-License-Identifier: Apache-2.0
//! `--volume`, and what is said of a volume that is named: by runtime, by what is in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::{
    BINDS, Export, bind, check, export, external, findings, held, json_of, mounts, nested, spec,
    volume,
};
use crate::common::file_image::{directory, open};
use crate::common::mount_image::{MountEntry, entry};
use crate::common::{World, make_fifo, premount};

/// A volume that has all that [`export`] needs.
fn right(world: &World) {
    for (path, mode) in [
        ("app", 0o1711),
        ("run", 0o755),
        ("nested", 0o755),
        ("conf.d", 0o755),
        ("cache", 0o755),
    ] {
        let path = world.directory(&format!("vol/{path}"));
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    for (path, content, mode) in [
        ("lock", "", 0o600),
        ("content", "content", 0o644),
        ("log", "as long as it likes", 0o644),
        ("conf.d/file", "", 0o644),
        ("unknown", "", 0o644),
    ] {
        let path = world.path("vol").join(path);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    make_fifo(&world.path("vol/run/fifo"));
    fs::set_permissions(
        world.path("vol/run/fifo"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
}

/// [`export`] without the device, which takes root to make.
fn export_without_device() -> Export {
    let more = ["/data/nested", "/data/conf.d/file", "/data/unknown"].map(bind);
    let mut files = held();
    files.retain(|file| file.id != 6);
    Export::new(&nested(), &files)
        .with_spec(&more)
        .with("config.dump", r#"{"runtime": "crun"}"#)
        .with("bind.mounts", BINDS)
}

#[test]
fn a_named_volume_is_compared_as_with_a_bundle() {
    /// A name, what is done to the volume, and the findings.
    type Case = (
        &'static str,
        fn(&Path),
        &'static [(&'static str, &'static str)],
    );
    let cases: [Case; 12] = [
        ("nothing", |_| {}, &[]),
        (
            "no mountpoint",
            |vol| fs::remove_dir(vol.join("nested")).unwrap(),
            &[("missing-mountpoint", "/data/nested")],
        ),
        (
            "a mountpoint of another kind",
            |vol| {
                fs::remove_file(vol.join("conf.d/file")).unwrap();
                fs::create_dir(vol.join("conf.d/file")).unwrap();
            },
            &[("wrong-kind", "/data/conf.d/file")],
        ),
        (
            "no directory",
            |vol| fs::remove_dir(vol.join("app")).unwrap(),
            &[("missing-open-file", "/data/app")],
        ),
        (
            "another mode",
            |vol| fs::set_permissions(vol.join("app"), fs::Permissions::from_mode(0o755)).unwrap(),
            &[("bad-mode", "/data/app")],
        ),
        (
            "no content",
            |vol| fs::remove_file(vol.join("content")).unwrap(),
            &[("missing-content", "/data/content")],
        ),
        (
            "another size",
            |vol| fs::write(vol.join("content"), "longer than it was").unwrap(),
            &[("bad-size", "/data/content")],
        ),
        (
            "another size of an empty file",
            |vol| fs::write(vol.join("lock"), "1").unwrap(),
            &[("bad-size", "/data/lock")],
        ),
        (
            "no log",
            |vol| fs::remove_file(vol.join("log")).unwrap(),
            &[("missing-log", "/data/log")],
        ),
        (
            "no FIFO",
            |vol| fs::remove_file(vol.join("run/fifo")).unwrap(),
            &[("missing-open-file", "/data/run/fifo")],
        ),
        (
            "the socket's name",
            |vol| fs::write(vol.join("run/socket"), "").unwrap(),
            &[("address-in-use", "/data/run/socket")],
        ),
        (
            "no volume",
            |vol| fs::remove_dir_all(vol).unwrap(),
            &[("missing-source", "/data")],
        ),
    ];
    for (name, damage, expected) in cases {
        let world = World::new();
        let checkpoint = export_without_device().pack(&world);
        right(&world);
        damage(&world.path("vol"));
        for path in ["nested", "unknown", "file"] {
            world.file(path);
        }
        fs::remove_file(world.path("nested")).unwrap();
        world.directory("nested");
        let all = [
            volume(&world, "/data", "vol"),
            volume(&world, "/data/nested", "nested"),
            volume(&world, "/data/unknown", "unknown"),
            volume(&world, "/data/conf.d/file", "file"),
        ];
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let before = world.state_of_all();
        let ended = check(&checkpoint, &all);
        let report = json_of("check", &checkpoint, &all);
        assert_eq!(world.state_of_all(), before, "{name}");
        assert_eq!(findings(&report), expected, "{name}: {ended:?}");
        assert_eq!(ended.status == 0, expected.is_empty(), "{name}: {ended:?}");
        let verdict = match expected.len() {
            0 => "\nThis checkpoint can be restored here.\n",
            _ => "\nThis checkpoint can't be restored as it is, for one reason.\n",
        };
        assert!(ended.stdout.ends_with(verdict), "{name}: {ended:?}");
    }
}

/// The root of a source can't be made by premount: it is what the source is.
#[test]
fn a_working_directory_at_the_root_of_a_volume_is_the_volumes_own() {
    let world = World::new();
    let files = [directory(1, "/data", 0o2750)];
    let checkpoint = Export::new(&mounts(), &files).pack(&world);
    let report = json_of("check", &checkpoint, &[]);
    let data = &report["needs"][0];
    assert_eq!(data["destination"], "/data");
    assert_eq!(
        data["inodes"],
        json!([{"path": "/data", "kind": "directory", "mode": "2750", "size": null, "by_premount": false}])
    );
    for (mode, status) in [(0o755, 1), (0o2750, 0)] {
        let path = world.directory("vol");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let ended = check(&checkpoint, &[&volume(&world, "/data", "vol")]);
        assert_eq!(ended.status, status, "{ended:?}");
    }
}

#[test]
fn a_volume_is_named_by_its_mountpoint_its_key_or_its_destination() {
    let mut all = mounts();
    // crun: the key is as written, the mountpoint is free of links.
    all.push(external(20, 1, "/run/app/token", "/var/run/app/token"));
    // runc: both are free of links.
    all.push(external(21, 1, "/run/app/other", "/run/app/other"));
    let files = [
        open(1, "/run/app/token/t", 0o100_644, Some(7)),
        open(2, "/run/app/other/t", 0o100_644, Some(7)),
    ];
    let more = [bind("/var/run/app/token"), bind("/var/run/app/other")];
    let world = World::new();
    let checkpoint = Export::new(&all, &files).with_spec(&more).pack(&world);
    let path = world.directory("vol");
    let file = world.file("vol/t");
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    let path = path.to_str().unwrap();
    for at in ["/run/app", "/var/run/app", "//var/./run/../run/app"] {
        let volumes = ["token", "other"].map(|name| format!("--volume={at}/{name}={path}"));
        let ended = check(&checkpoint, &[&volumes[0], &volumes[1]]);
        assert_eq!(ended.status, 0, "{at}: {ended:?}");
    }
    let only_one = format!("--volume=/run/app/other={path}");
    let ended = check(&checkpoint, &[&only_one]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended.stdout.contains("will be at /run/app/token (see"),
        "{ended:?}"
    );
    // Both names of one mount.
    let ended = check(
        &checkpoint,
        &[
            &format!("--volume=/run/app/token={path}"),
            &format!("--volume=/var/run/app/token={path}"),
        ],
    );
    assert_eq!(ended.status, 2, "{ended:?}");
}

#[test]
fn a_volume_that_can_not_be_meant_is_refused() {
    let world = World::new();
    world.directory("vol");
    let checkpoint = export().pack(&world);
    let vol = world.path("vol");
    let vol = vol.to_str().unwrap();
    let (here, bundle) = (format!("/data={vol}"), world.bundle());
    let cases: [(&[&str], &str); 8] = [
        (
            &["--volume", &format!("/dat={vol}")],
            "the checkpoint has no mount of the host's at /dat",
        ),
        (
            &["--volume", &format!("/proc={vol}")],
            "the checkpoint has no mount of the host's at /proc",
        ),
        (
            &["--volume", &format!("/={vol}")],
            "the checkpoint has no mount of the host's at /",
        ),
        (
            &["--volume", &here, "--volume", &format!("/data/.={vol}")],
            "given twice",
        ),
        (&["--volume", "/data"], "expected DESTINATION=HOSTDIR"),
        (&["--volume", "/data="], "expected DESTINATION=HOSTDIR"),
        (
            &["--volume", &format!("data={vol}")],
            "expected DESTINATION=HOSTDIR",
        ),
        (
            &["--volume", &here, "--bundle", &bundle],
            "cannot be used with",
        ),
    ];
    for (more, reason) in cases {
        let ended = check(&checkpoint, more);
        assert_eq!(
            (ended.status, ended.stdout.as_str()),
            (2, ""),
            "{more:?}: {ended:?}"
        );
        assert!(ended.stderr.contains(reason), "{more:?}: {ended:?}");
    }
    let ended = premount(&["check", "--volume", &here], b"", &[]);
    assert_eq!(ended.status, 2, "{ended:?}");
    let ended = premount(&["check", "--volume", &here, "--images", vol], b"", &[]);
    assert_eq!(ended.status, 2, "{ended:?}");
}

#[test]
fn nothing_is_applied_without_a_bundle() {
    let world = World::new();
    world.directory("vol");
    let checkpoint = export().pack(&world);
    let before = world.state_of_all();
    for more in [&[][..], &[&volume(&world, "/data", "vol")[..]]] {
        let ended = premount(
            &[&["apply", "--checkpoint", &checkpoint], more].concat(),
            b"",
            &[],
        );
        assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{ended:?}");
        assert!(
            ended.stderr.contains("--bundle or --state is needed"),
            "{ended:?}"
        );
    }
    assert_eq!(world.state_of_all(), before);
}

/// Mountpoints that runc creates itself: those of the configuration, unless one of its tmpfs is above by name.
#[test]
fn the_runtime_is_told_from_the_checkpoint() {
    /// config.dump, one more mount, `--runtime`, and whether it is runc.
    type Case<'a> = (
        Option<String>,
        Option<&'a MountEntry>,
        Option<&'a str>,
        bool,
    );
    let masked = external(30, 2, "/proc/kcore", "/dev/null");
    let empty = MountEntry {
        root: b"/run/crun/.empty-directory".to_vec(),
        ..external(31, 2, "/proc/scsi", "/run/crun/.empty-directory")
    };
    let named = |name: &str| Some(json!({"runtime": name}).to_string());
    let cases: [Case; 11] = [
        (named("runc"), None, None, true),
        (named("/usr/sbin/runc"), None, None, true),
        (named("crun"), None, None, false),
        (named("/usr/bin/crun"), None, None, false),
        (None, None, None, false),
        (None, Some(&masked), None, true),
        (None, Some(&empty), None, false),
        (named("kata"), Some(&masked), None, true),
        (named("crun"), Some(&masked), None, false),
        (named("runc"), None, Some("crun"), false),
        (named("crun"), None, Some("runc"), true),
    ];
    for (config, mount, option, is_runc) in cases {
        let mut all = mounts();
        all.push(external(10, 3, "/data/nested", "/data/nested"));
        all.extend(mount.cloned());
        let mut spec = spec(&[bind("/data/nested")]);
        spec["linux"] = json!({"maskedPaths": ["/proc/scsi", "/proc/kcore"]});
        let mut export = Export::new(&all, &[]).with("spec.dump", spec.to_string());
        if let Some(config) = &config {
            export = export.with("config.dump", config.as_bytes());
        }
        let world = World::new();
        world.directory("vol");
        let checkpoint = export.pack(&world);
        let mut more = vec![volume(&world, "/data", "vol")];
        more.extend(option.map(|name| format!("--runtime={name}")));
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let ended = check(&checkpoint, &more);
        assert_eq!(
            ended.status == 0,
            is_runc,
            "{config:?} {mount:?} {option:?}: {ended:?}"
        );
    }
}

/// runc does not create what is below a tmpfs of the configuration by name, but a tmpfs in a volume.
#[test]
fn the_tmpfs_of_the_container_is_known() {
    let mut all = mounts();
    all.push(entry(10, 1, 10, "/", "/run"));
    all.push(external(11, 10, "/run/data", "/run/data"));
    all.push(external(12, 11, "/run/data/nested", "/run/data/nested"));
    all.push(entry(13, 3, 13, "/", "/data/cache"));
    let tmpfs = |at: &str| json!({"destination": at, "type": "tmpfs", "source": "tmpfs"});
    let binds = [bind("/run/data"), bind("/run/data/nested")];
    let with = |more: &[Value]| Export::new(&all, &[]).with_spec(&[&binds[..], more].concat());
    let missing = |at: &'static str| ("missing-mountpoint", at);
    let (run, cache) = (missing("/run/data/nested"), missing("/data/cache"));
    for (export, expected) in [
        (with(&[tmpfs("/run"), tmpfs("/data/cache")]), vec![run]),
        // Then it was the workload that mounted it.
        (with(&[tmpfs("/run")]), vec![run, cache]),
        (with(&[tmpfs("/data/cache")]), vec![]),
        // Docker exports none.
        (Export::new(&all, &[]), vec![run, cache]),
    ] {
        let world = World::new();
        world.directory("vol");
        world.directory("run");
        let volumes = [
            volume(&world, "/data", "vol"),
            volume(&world, "/run/data", "run"),
        ];
        let checkpoint = export.pack(&world);
        let more = [&volumes[0], &volumes[1], "--runtime=runc"];
        let report = json_of("check", &checkpoint, &more);
        assert_eq!(findings(&report), expected, "{report}");
    }
}
