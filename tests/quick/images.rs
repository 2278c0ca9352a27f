// SPDX-License-Identifier: Apache-2.0
//! What a checkpoint's images may cause, and what not.

use std::fs;
use std::path::Path;
use std::time::Instant;

use premount::checkpoint::{Known, Parent, compare};

use crate::common::archive::{gzipped, zstandard};
use crate::common::image::{Entry, container, entry, image};
use crate::common::{Ended, World, premount};

/// A world with a volume at /data, and an image directory.
fn world(entries: &[Entry]) -> World {
    let mut world = World::new();
    world.directory("vol");
    world.file("vol/file");
    world.directory("outside");
    world.bind("vol", "/data");
    world.directory("images");
    write(&world, "mountpoints-12.img", &image(entries));
    world
}

fn write(world: &World, name: &str, bytes: &[u8]) {
    fs::write(world.path("images").join(name), bytes).unwrap();
}

fn call(world: &World, command: &str) -> Ended {
    let (bundle, images) = (world.bundle(), world.path("images"));
    let arguments = [
        command,
        "--bundle",
        &bundle,
        "--images",
        images.to_str().unwrap(),
    ];
    premount(&arguments, b"", &[])
}

#[test]
fn what_the_workload_mounted_in_a_volume_is_made_there() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/x/y"));
    entries.push(entry(4, 2, 2, "/vol/file", "/data/f"));
    entries.push(entry(5, 2, 2, "/vol/gone", "/data/nobody-knows"));
    entries.push(entry(6, 3, 8, "/", "/data/x/y/on-its-tmpfs"));
    let world = world(&entries);
    let plan = call(&world, "plan");
    assert_eq!(plan.status, 0, "{plan:?}");
    assert!(plan.stdout.contains("/data/nobody-knows") && plan.stdout.contains("MISSING?"));
    assert_eq!(call(&world, "check").status, 1);
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert_eq!(world.tree("vol"), ["d x", "d x/y", "f f", "f file"]);
    // What nobody could decide is missing still.
    assert_eq!(call(&world, "check").status, 1);
    world.directory("vol/nobody-knows");
    assert_eq!(call(&world, "check").status, 0);
}

#[test]
fn what_comes_too_late_in_the_configuration_is_made_where_the_checkpoint_has_it() {
    // As Podman writes it for an imported container, whose /run/secrets it appends.
    let mut world = World::new();
    world.directory("vol");
    world.file("token");
    world.bind("token", "/data/token");
    world.bind("vol", "/data");
    world.directory("images");
    let mut token = entry(3, 2, 9, "/token", "/data/token");
    token.ext_key = Some(b"/data/token".to_vec());
    let mut entries = container();
    entries.push(token);
    write(&world, "mountpoints-12.img", &image(&entries));
    assert_eq!(call(&world, "check").status, 1);
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert_eq!(world.tree("vol"), ["f token"]);
    assert_eq!(call(&world, "check").status, 0);
}

#[test]
fn a_link_where_the_checkpoint_has_none_is_no_way() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/link/y"));
    let world = world(&entries);
    world.link("vol/link", world.path("outside").to_str().unwrap());
    let applied = call(&world, "apply");
    // CRIU might get through: that is for CRIU to say.
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert!(applied.stdout.contains("1 not judged"), "{applied:?}");
    assert!(world.tree("outside").is_empty());
}

#[test]
fn hostile_images_do_no_harm() {
    let long = format!("/data/{}", "n".repeat(300));
    let deep = format!("/data/{}", "d/".repeat(3000));
    let mut cases: Vec<(&str, Vec<Entry>)> = Vec::new();
    for path in [
        "/data/../../outside/x",
        "/../outside/x",
        "outside/x",
        "",
        "data/x",
        "/data//x",
        "/data/./x",
        "/data/x/..",
        "/data/\0x",
        "./../outside",
        "/data/x\0/y",
        &long,
        &deep,
    ] {
        cases.push((path, vec![entry(3, 2, 9, "/", path)]));
    }
    cases.push(("its own parent", vec![entry(3, 3, 9, "/", "/data/x")]));
    cases.push((
        "a circle of parents",
        vec![
            entry(3, 4, 9, "/", "/data/x"),
            entry(4, 3, 9, "/", "/data/x/y"),
        ],
    ));
    cases.push(("no such parent", vec![entry(3, 77, 9, "/", "/data/x")]));
    cases.push((
        "a parent elsewhere",
        vec![entry(3, 2, 9, "/", "/elsewhere/x")],
    ));
    cases.push((
        "a root that climbs",
        vec![entry(3, 1, 2, "/vol/../outside", "/m")],
    ));
    let mut source = entry(3, 1, 2, "/vol", "/outside");
    source.ext_key = Some(b"/outside".to_vec());
    cases.push((
        "a source of its own",
        vec![source, entry(4, 3, 9, "/", "/outside/x")],
    ));
    for (name, extra) in cases {
        let world = world(&[container(), extra].concat());
        call(&world, "plan");
        let ended = call(&world, "apply");
        assert!(matches!(ended.status, 0 | 1), "{name}: {ended:?}");
        assert!(world.tree("outside").is_empty(), "{name}");
        assert_eq!(world.tree("vol"), ["f file"], "{name}");
        assert_eq!(world.tree("bundle/rootfs"), ["d data"], "{name}");
    }
}

#[test]
fn sixteen_thousand_mounts_and_huge_strings_are_taken_in_time() {
    let mut entries = container();
    // 2^14, with those of the container and the one below.
    for id in 0..16_381 {
        let at = format!("/data/{}/{id}", id % 7);
        entries.push(entry(
            100 + id,
            if id % 2 == 0 { 2 } else { 50 + id },
            2,
            "/vol/file",
            &at,
        ));
    }
    entries.push(entry(3, 2, 9, "/", &format!("/{}", "x".repeat(60_000))));
    let world = world(&entries);
    let start = Instant::now();
    let ended = call(&world, "check");
    assert_eq!(ended.status, 1);
    assert!(start.elapsed().as_secs() < 60, "it never ends");
    // An entry that no CRIU writes.
    write(
        &world,
        "mountpoints-13.img",
        &image(&[entry(1, 0, 1, "/", &"x".repeat(1 << 20))]),
    );
    let ended = call(&world, "check");
    assert_eq!(ended.status, 2);
    assert!(
        ended
            .stderr
            .contains("mountpoints-13.img: entry 0: too long"),
        "{ended:?}"
    );
}

#[test]
fn images_that_are_none_are_refused_by_hand_and_passed_over_in_a_restore() {
    let world = world(&container());
    let good = image(&container());
    let images = world.path("images").to_str().unwrap().to_owned();
    for (bytes, reason) in [
        (&b""[..], "not an image of mounts"),
        (b"garbage garbage", "not an image of mounts"),
        (&good[..good.len() - 1], "entry 1: truncated"),
    ] {
        let _ = fs::remove_dir_all(world.path("bundle/rootfs/data"));
        write(&world, "mountpoints-12.img", bytes);
        let ended = call(&world, "apply");
        assert_eq!(
            (ended.status, ended.stderr.lines().count()),
            (2, 1),
            "{ended:?}"
        );
        assert!(ended.stderr.contains("mountpoints-12.img: ") && ended.stderr.contains(reason));
        assert!(world.tree("bundle/rootfs").is_empty());
        // CRIU will say so too: what the configuration says is done all the same.
        let hook = world.path("bundle/checkpoint");
        let _ = fs::remove_file(&hook);
        std::os::unix::fs::symlink(&images, &hook).unwrap();
        let ended = premount(&["hook"], world.state().as_bytes(), &[]);
        assert_eq!(ended.status, 0, "{ended:?}");
        assert!(
            ended
                .stderr
                .contains("WARN premount: the checkpoint's mounts are not looked at: ")
        );
        assert_eq!(world.tree("bundle/rootfs"), ["d data"]);
    }
    fs::remove_file(world.path("images/mountpoints-12.img")).unwrap();
    let ended = call(&world, "apply");
    assert!(
        ended.status == 2 && ended.stderr.contains("no mountpoints-*.img"),
        "{ended:?}"
    );
    fs::remove_dir(world.path("images")).unwrap();
    let ended = call(&world, "apply");
    assert!(
        ended.status == 2 && ended.stderr.contains("images: open: No such file"),
        "{ended:?}"
    );
}

#[test]
fn the_hook_finds_the_images_beside_the_configuration() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/x"));
    let world = world(&entries);
    fs::rename(world.path("images"), world.path("bundle/checkpoint")).unwrap();
    let ended = premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(world.tree("vol"), ["d x", "f file"]);
}

#[test]
fn the_image_of_a_real_checkpoint_by_crio_wants_nothing_that_its_configuration_does_not() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crio-1.36-runc");
    let image = fs::read(fixture.join("mountpoints-12.img")).unwrap();
    let namespace = premount::images::parse(&image, Path::new("mountpoints-12.img")).unwrap();
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
    let known: Vec<Known> = paths
        .iter()
        .map(|&(path, is_bind)| Known {
            resolved: path.as_bytes(),
            destination: path.as_bytes(),
            is_bind,
            parent: parent(path),
        })
        .collect();
    let wanted = compare(&[namespace], &known, &[], 100).wanted.unwrap();
    assert!(wanted.is_empty(), "{wanted:?}");
    // And from an archive, as CRI-O exports it.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("checkpoint.tar");
    fs::write(&file, archive(&image)).unwrap();
    assert_eq!(premount::archive::read(&file).unwrap()[0].mounts.len(), 25);
}

/// A checkpoint archive as CRI-O and Podman export it.
fn archive(image: &[u8]) -> Vec<u8> {
    let pages = vec![7; 100_000];
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in [
        ("spec.dump", &b"{}"[..]),
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
            "/data/x: the mountpoint is missing (premount apply makes it): {vol}/x\n    CRIU: Can't stat \
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
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
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
            .contains("/more: the checkpoint doesn't know this mount"),
        "{ended:?}"
    );
}

#[test]
fn names_that_are_no_utf8_are_made_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let mut entries = container();
    let mut odd = entry(3, 2, 9, "/", "/data/");
    odd.mountpoint.extend([0xff; 250]);
    entries.push(odd);
    let world = world(&entries);
    let ended = call(&world, "apply");
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    let made = world
        .path("vol")
        .join(std::ffi::OsStr::from_bytes(&[0xff; 250]));
    assert!(made.is_dir());
}
