// SPDX-License-Identifier: Apache-2.0
//! `--checkpoint`: a checkpoint as an engine exports it, a directory or an archive, and what premount says of it.

use std::fs;
use std::path::Path;

use premount::internals::{ConfigMount, Parent, RelRef, archive, compare, parse};

use crate::common::archive::{gzipped, zstandard};
use crate::common::mount_image::{container, entry, image};
use crate::common::{make_fifo, premount};
use crate::images::world;

#[test]
fn the_image_of_a_real_checkpoint_by_crio_wants_nothing_that_its_configuration_does_not() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crio-1.36-runc");
    let image = fs::read(fixture.join("mountpoints-12.img")).unwrap();
    let namespace = parse(&image, Path::new("mountpoints-12.img")).unwrap();
    assert_eq!(namespace.mounts.len(), 25);
    let paths: Vec<(&str, bool)> = vec![
        ("proc", false),
        ("dev", false),
        ("sys", false),
        ("sys/fs/cgroup", false),
        ("dev/pts", false),
        ("dev/mqueue", false),
        ("dev/shm", true),
        ("etc/resolv.conf", true),
        ("etc/hostname", true),
        ("etc/hosts", true),
        ("run/.containerenv", true),
        ("data", true),
        ("run/secrets", true),
        ("data/nested/dir", true),
        ("run/secrets/kubernetes.io/serviceaccount", true),
    ];
    let parent = |path: &str| {
        let above = |(top, _): &(&str, bool)| path.starts_with(&format!("{top}/"));
        let parents = (0..paths.len()).filter(|&index| above(&paths[index]));
        let parent = parents.max_by_key(|&index| paths[index].0.len());
        parent.map_or(Parent::Rootfs, Parent::Mount)
    };
    let known: Vec<ConfigMount> = paths
        .iter()
        .map(|&(path, is_bind)| ConfigMount {
            resolved: RelRef::new(path.as_bytes()),
            destination: RelRef::new(path.as_bytes()),
            is_bind,
            parent: parent(path),
        })
        .collect();
    let required = compare(&[namespace], &[], None, &known, &[], 100)
        .required
        .unwrap();
    assert!(required.is_empty(), "{required:?}");
    // And from an archive, as CRI-O exports it.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("checkpoint.tar");
    fs::write(&file, archive(&image)).unwrap();
    assert_eq!(archive::read(&file).unwrap().namespaces[0].mounts.len(), 25);
}

/// A checkpoint archive as CRI-O and Podman export it.
fn archive(image: &[u8]) -> Vec<u8> {
    let pages = vec![7; 100_000];
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in [
        ("spec.dump", &br#"{"root":{"path":"rootfs"}}"#[..]),
        ("checkpoint/pages-1.img", &pages),
        ("checkpoint/mountpoints-12.img", image),
        ("rootfs-diff.tar", b"mountpoints-13.img"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, path, bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn a_checkpoint_is_read_from_a_directory_or_an_archive() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/x"));
    let world = world(&entries);
    let tar = archive(&image(&entries));
    fs::write(world.path("plain.tar"), &tar).unwrap();
    fs::write(world.path("c.tar.gz"), gzipped(&tar)).unwrap();
    fs::write(world.path("c.tar.zst"), zstandard(&tar)).unwrap();
    world.directory("unpacked");
    fs::create_dir(world.path("unpacked/checkpoint")).unwrap();
    fs::copy(
        world.path("images/mountpoints-12.img"),
        world.path("unpacked/checkpoint/mountpoints-12.img"),
    )
    .unwrap();
    let bundle = world.bundle();
    for name in ["images", "unpacked", "plain.tar", "c.tar.gz", "c.tar.zst"] {
        let checkpoint = world.path(name);
        let checkpoint = checkpoint.to_str().unwrap();
        let before = world.state_of_all();
        let ended = premount(
            &["check", "--checkpoint", checkpoint, "--bundle", &bundle],
            b"",
            &[],
        );
        assert_eq!(ended.status, 1, "{name}: {ended:?}");
        let missing = format!(
            "\nmissing-mountpoint: /data/x: the mountpoint is missing (premount apply makes it): {vol}/x\n    CRIU: Can't stat \
             mountpoint {vol}/x: No such file or directory\nThis checkpoint can't be restored as it is, \
             for one reason.\n",
            vol = world.path("vol").display()
        );
        assert!(ended.stdout.ends_with(&missing), "{name}: {ended:?}");
        let alone = premount(&["plan", "--checkpoint", checkpoint], b"", &[]);
        let expected = format!(
            "{checkpoint}
/              rootfs  from the host, root.path
"
        );
        assert!(alone.stdout.starts_with(&expected), "{alone:?}");
        assert!(
            alone
                .stdout
                .contains("└─ /data       tmpfs   from the host, by config.json\n")
        );
        assert!(
            alone
                .stdout
                .contains("   └─ /data/x  tmpfs   from the checkpoint, on the source of /data\n"),
            "{alone:?}"
        );
        let json = premount(
            &["plan", "--checkpoint", checkpoint, "--format", "json"],
            b"",
            &[],
        );
        let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(json["namespaces"][0][1]["external"], "/data");
        assert_eq!(world.state_of_all(), before, "nothing is unpacked");
    }
    let call_with = |command: &str, name: &str| {
        let checkpoint = world.path(name);
        let checkpoint = checkpoint.to_str().unwrap();
        premount(
            &[command, "--checkpoint", checkpoint, "--bundle", &bundle],
            b"",
            &[],
        )
    };
    let ended = call_with("apply", "c.tar.zst");
    assert_eq!(ended.status, 0, "{ended:?}");
    let restorable = "\nThis checkpoint can be restored here.\n";
    assert!(
        ended.stdout.ends_with(restorable),
        "what was made is missing no more: {ended:?}"
    );
    let ended = call_with("check", "c.tar.gz");
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .ends_with("\nThis checkpoint can be restored here.\n"),
        "{ended:?}"
    );
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let world = world(&container());
    let tar = archive(&image(&container()));
    let packed = [gzipped(&tar), zstandard(&tar)];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("garbage", vec![b'x'; 5000]),
        ("cut.tar", tar[..101_800].to_vec()),
        ("cut.tar.gz", packed[0][..packed[0].len() / 2].to_vec()),
        ("cut.tar.zst", packed[1][..packed[1].len() / 2].to_vec()),
        ("only-magic.gz", vec![0x1f, 0x8b]),
        ("only-magic.zst", vec![0x28, 0xb5, 0x2f, 0xfd]),
        ("other.tar", archive(b"no image")),
    ];
    for (name, bytes) in cases {
        fs::write(world.path(name), bytes).unwrap();
        let path = world.path(name);
        let ended = premount(&["plan", "--checkpoint", path.to_str().unwrap()], b"", &[]);
        assert_eq!(
            (ended.status, ended.stderr.lines().count()),
            (2, 1),
            "{name}: {ended:?}"
        );
        assert!(
            ended.stderr.contains(name) && ended.stdout.is_empty(),
            "{name}: {ended:?}"
        );
    }
    let fifo = world.path("fifo");
    make_fifo(&fifo);
    for path in [fifo, world.path("gone"), world.directory("nothing")] {
        let ended = premount(&["plan", "--checkpoint", path.to_str().unwrap()], b"", &[]);
        assert_eq!(ended.status, 2, "{ended:?}");
    }
}

#[test]
fn the_verdict_and_the_exit_status_agree_on_a_mount_that_the_checkpoint_does_not_know() {
    let mut world = world(&container());
    world.directory("bundle/rootfs/data");
    world.bind("gone", "/more");
    let (bundle, images) = (world.bundle(), world.path("images"));
    let check = [
        "check",
        "--checkpoint",
        images.to_str().unwrap(),
        "--bundle",
        &bundle,
    ];
    let ended = premount(&check, b"", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stdout
            .ends_with("can't be restored as it is, for one reason.\n"),
        "{ended:?}"
    );
    assert!(
        ended
            .stdout
            .contains("/more: the checkpoint doesn't have this mount"),
        "{ended:?}"
    );
}
