// SPDX-License-Identifier: Apache-2.0
//! What the open files in a checkpoint's images have premount make, and what they can't. As whom it is made
//! takes root to tell: tests/root/open_files.rs.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use serde_json::{Value, json};

use crate::common::file_image::{
    FIFOS, FILES, FileEntry, REGULAR, REMAPS, SOCKETS, directory, fifo, file, image, open, socket,
    watch, working_directory,
};
use crate::common::mount_image::{container, entry};
use crate::common::{World, premount};
use crate::images::{call, world, write};

/// A world whose checkpoint has these files open.
fn with_files(files: &[FileEntry]) -> World {
    let world = world(&container());
    write(&world, "files.img", &image(FILES, files));
    world
}

fn mode(world: &World, path: &str) -> u32 {
    let inode = fs::symlink_metadata(world.path(path)).unwrap();
    inode.permissions().mode() & 0o7777
}

#[test]
fn what_tasks_hold_open_and_has_no_content_is_made() {
    let [pipe, its_end] = fifo(5, "/data/q/f", 0o640);
    let files = [
        directory(1, "/data/a/b", 0o1711),
        file(2, "/data/a/b/empty", 0o600),
        open(3, "/data/a/full", 0o100_644, Some(1)),
        pipe,
        its_end,
        socket(6, "/data/s/d/it"),
        watch(7, "/data/w", 0x100),
        directory(8, "/", 0o755),
        directory(9, "/etc/in-the-rootfs", 0o700),
    ];
    let world = with_files(&files);
    let check = call(&world, "check");
    assert_eq!(check.status, 1, "{check:?}");
    assert!(
        check.stdout.contains("vol/a/b for open file /data/a/b"),
        "{check:?}"
    );
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    let made = [
        "d a",
        "d a/b",
        "d q",
        "d s",
        "d s/d",
        "d w",
        "f a/b/empty",
        "f file",
        "f q/f",
    ];
    assert_eq!(world.tree("vol"), made);
    assert_eq!(
        world.tree("bundle/rootfs/etc"),
        ["d in-the-rootfs"],
        "{applied:?}"
    );
    for (path, is) in [
        ("vol/a", 0o755),
        ("vol/a/b", 0o1711),
        ("vol/a/b/empty", 0o600),
        ("vol/q/f", 0o640),
        ("vol/s/d", 0o755),
        ("bundle/rootfs/etc/in-the-rootfs", 0o700),
    ] {
        assert_eq!(mode(&world, path), is, "{path}");
    }
    let kind = fs::symlink_metadata(world.path("vol/q/f"))
        .unwrap()
        .file_type();
    assert!(kind.is_fifo());
    // What has content is for its owner to bring.
    let check = call(&world, "check");
    assert_eq!(check.status, 1);
    assert!(check.stdout.contains("with content"), "{check:?}");
    fs::write(world.path("vol/a/full"), "1").unwrap();
    let mode_of_full = fs::Permissions::from_mode(0o644);
    fs::set_permissions(world.path("vol/a/full"), mode_of_full).unwrap();
    let check = call(&world, "check");
    assert_eq!(check.status, 0, "{check:?}");
    let before = world.state_of_all();
    assert_eq!(call(&world, "apply").status, 0);
    assert_eq!(
        world.state_of_all(),
        before,
        "the second call changes nothing"
    );
}

#[test]
fn no_checkpoint_makes_anything_set_user_id() {
    let files = [
        directory(1, "/data/d", 0o7777),
        file(2, "/data/f", 0o7755),
        directory(3, "/data/g", 0o2000),
    ];
    let world = with_files(&files);
    assert_eq!(call(&world, "apply").status, 0);
    let modes = ["vol/d", "vol/f", "vol/g"].map(|path| mode(&world, path));
    assert_eq!(modes, [0o1777, 0o755, 0]);
}

/// A file that was deleted while it was open is for CRIU to bring back, and an accepted connection binds
/// nothing.
#[test]
fn what_criu_makes_itself_is_not_made() {
    let mut accepted = socket(3, "/data/s/it");
    accepted.usk.as_mut().unwrap().state = 1;
    let mut abstract_name = socket(4, "");
    abstract_name.usk.as_mut().unwrap().name = b"\0/data/abstract/x".to_vec();
    let files = [
        directory(1, "/data/deleted", 0o755),
        file(2, "/data/gone/f", 0o755),
        accepted,
        abstract_name,
    ];
    let world = with_files(&files);
    // remap_file_path_entry: orig_id.
    let remaps = [1_u8, 2].map(|id| vec![8, id]);
    let mut bytes = image(REMAPS, &[] as &[FileEntry]);
    for remap in remaps {
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend(remap);
    }
    write(&world, "remap-fpath.img", &bytes);
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert_eq!(world.tree("vol"), ["f file"]);
}

/// Before CRIU 3.3 each kind had its own image, and no modes: what a task is in is a directory.
#[test]
fn images_of_an_old_criu_are_read() {
    let world = world(&container());
    let [mut pipe, its_end] = fifo(1, "/data/f", 0o640);
    let mut cwd = directory(2, "/data/cwd", 0o700);
    let mut unknown = directory(3, "/data/unknown", 0o700);
    for file in [&mut pipe, &mut cwd, &mut unknown] {
        file.reg.as_mut().unwrap().mode = None;
    }
    let regular = [pipe, cwd, unknown].map(|file| file.reg.unwrap());
    write(&world, "reg-files.img", &image(REGULAR, &regular));
    write(&world, "fifo.img", &image(FIFOS, &[its_end.fifo.unwrap()]));
    let bound = socket(4, "/data/s/it").usk.unwrap();
    write(&world, "unixsk.img", &image(SOCKETS, &[bound]));
    write(&world, "fs-7.img", &working_directory(2));
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert!(
        applied
            .stdout
            .contains("nothing tells whether it is a directory or a file"),
        "{applied:?}"
    );
    assert_eq!(world.tree("vol"), ["d cwd", "d s", "f f", "f file"]);
}

#[test]
fn a_log_is_made_if_asked_for() {
    let mut log = open(1, "/data/log/l", 0o100_640, None);
    log.reg.as_mut().unwrap().flags = 0o2001; // O_WRONLY | O_APPEND
    let world = with_files(&[log]);
    let (bundle, images) = (world.bundle(), world.path("images"));
    let images = images.to_str().unwrap();
    let ask = |command: &str, more: &[&str]| {
        let all = [&[command, "--bundle", &bundle, "--images", images], more].concat();
        premount(&all, b"", &[])
    };
    assert_eq!(ask("check", &[]).status, 1);
    let applied = ask("apply", &[]);
    assert!(applied.stdout.contains("see --append"), "{applied:?}");
    assert_eq!(world.tree("vol"), ["f file"]);
    let findings = premount(
        &["check", "--bundle", &bundle, "--checkpoint", images],
        b"",
        &[],
    );
    assert_eq!(findings.status, 1);
    assert!(
        findings.stdout.contains("io.premount.append"),
        "{findings:?}"
    );
    assert_eq!(ask("apply", &["--append"]).status, 0);
    assert_eq!(world.tree("vol"), ["d log", "f file", "f log/l"]);
    assert_eq!(mode(&world, "vol/log/l"), 0o640);
    assert_eq!(fs::read(world.path("vol/log/l")).unwrap(), b"");
}

/// The configuration of a world, with something else in it.
fn configure(world: &World, more: &Value) {
    let mut config = world.config();
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    world.write_config(&config);
}

#[test]
fn the_annotation_asks_for_logs_in_a_restore() {
    let mut log = open(1, "/data/l", 0o100_640, None);
    log.reg.as_mut().unwrap().flags = 0o2001;
    let world = with_files(&[log]);
    fs::rename(world.path("images"), world.path("bundle/checkpoint")).unwrap();
    let hook = || premount(&["hook"], world.state().as_bytes(), &[]);
    let without = hook();
    assert!(
        without.status == 0 && without.stderr.contains("io.premount.append"),
        "{without:?}"
    );
    assert_eq!(world.tree("vol"), ["f file"]);
    configure(
        &world,
        &json!({"annotations": {"io.premount.append": "true"}}),
    );
    let with = hook();
    assert!(with.stderr.contains("created file"), "{with:?}");
    assert_eq!(world.tree("vol"), ["f file", "f l"]);
}

#[test]
fn the_working_directory_of_the_configuration_is_made_as_at_a_first_start() {
    for cwd in ["/data/app/deep", "/data/./app//deep/", "/link/app/deep"] {
        let mut world = World::new();
        world.directory("vol");
        world.directory("bundle/rootfs/data");
        world.link("bundle/rootfs/link", "/data");
        world.bind("vol", "/data");
        configure(&world, &json!({"process": {"cwd": cwd}}));
        let check = world.premount("check");
        assert_eq!(check.status, 1, "{check:?}");
        let applied = world.premount("apply");
        assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
        assert_eq!(world.tree("vol"), ["d app", "d app/deep"], "{cwd}");
        assert_eq!(world.premount("check").status, 0);
    }
    // On the container's own tmpfs, relative, the root, or where a file is.
    for cwd in ["/tmp/x", "app", "/", "/data/file/x"] {
        let mut world = World::new();
        world.directory("bundle/rootfs/tmp");
        world.directory("bundle/rootfs/data");
        world.directory("vol");
        world.file("vol/file");
        world.bind("vol", "/data");
        world.tmpfs("/tmp");
        configure(&world, &json!({"process": {"cwd": cwd}}));
        let applied = world.premount("apply");
        assert_eq!((applied.status, applied.stderr.as_str()), (0, ""), "{cwd}");
        assert_eq!(world.tree("vol"), ["f file"], "{cwd}");
    }
}

/// A mount of the workload's covers it: CRIU restores what is in there.
#[test]
fn a_working_directory_that_the_checkpoint_has_elsewhere_is_not_made() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/app"));
    let world = world(&entries);
    configure(&world, &json!({"process": {"cwd": "/data/app/deep"}}));
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert_eq!(world.tree("vol"), ["d app", "f file"]);
}

#[test]
fn nothing_is_made_under_a_read_only_mount() {
    let files = [directory(1, "/data/x", 0o755)];
    let mut read_only = container();
    read_only[1].flags = 1;
    let by_the_image = world(&read_only);
    write(&by_the_image, "files.img", &image(FILES, &files));
    let by_the_configuration = with_files(&files);
    let mut config = by_the_configuration.config();
    config["mounts"][0]["options"] = json!(["rbind", "ro"]);
    by_the_configuration.write_config(&config);
    for world in [by_the_image, by_the_configuration] {
        let applied = call(&world, "apply");
        assert_eq!(applied.status, 1, "{applied:?}");
        assert!(applied.stderr.contains("EROFS"), "{applied:?}");
        assert_eq!(world.tree("vol"), ["f file"]);
    }
    let rootfs = with_files(&[directory(1, "/x", 0o755)]);
    let mut config = rootfs.config();
    config["root"]["readonly"] = json!(true);
    rootfs.write_config(&config);
    assert_eq!(call(&rootfs, "apply").status, 1);
    // The mountpoint of /data is the runtime's.
    assert_eq!(rootfs.tree("bundle/rootfs"), ["d data"]);
}

#[test]
fn what_is_there_stays_and_what_is_in_the_way_is_told() {
    let files = [
        directory(1, "/data/file", 0o755),
        directory(2, "/data/file/below", 0o755),
        file(3, "/data/directory", 0o644),
        directory(4, "/data/link/x", 0o755),
        directory(5, "/data/fine", 0o755),
    ];
    let world = with_files(&files);
    world.directory("vol/directory");
    world.link("vol/link", world.path("outside").to_str().unwrap());
    let applied = call(&world, "apply");
    assert_eq!(applied.status, 1, "{applied:?}");
    for said in [
        "open file /data/file: it has to be a directory, and a file is there",
        "open file /data/file/below: something that is not a directory is in the way",
        "open file /data/directory: it has to be a file, and a directory is there",
    ] {
        assert!(applied.stderr.contains(said), "{said}: {applied:?}");
    }
    assert_eq!(
        world.tree("vol"),
        ["d directory", "d fine", "f file", "l link"]
    );
    assert!(world.tree("outside").is_empty());
    // CRIU fails at these itself: premount is no reason for a restore to fail.
    fs::rename(world.path("images"), world.path("bundle/checkpoint")).unwrap();
    let hook = premount(&["hook"], world.state().as_bytes(), &[]);
    assert!(
        hook.status == 0
            && hook
                .stderr
                .contains("WARN premount: wrong-kind: open file /data/file: "),
        "{hook:?}"
    );
}

/// The mountpoint of a mount, and what it lies in, with the modes that the checkpoint has.
#[test]
fn a_mountpoint_gets_the_mode_that_the_checkpoint_has() {
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/a/b"));
    let world = world(&entries);
    let files = [directory(1, "/data/a", 0o1755)];
    write(&world, "files.img", &image(FILES, &files));
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert_eq!(mode(&world, "vol/a"), 0o1755);
    assert_eq!(mode(&world, "vol/a/b"), 0o755);
}

#[test]
fn hostile_files_do_no_harm() {
    let long = format!("/data/{}", "x/".repeat(4000));
    let name = format!("/data/{}", "n".repeat(300));
    let mut nowhere = directory(20, "/data/of-no-mount", 0o755);
    nowhere.reg.as_mut().unwrap().mnt_id = Some(99);
    let mut negative = directory(21, "/data/of-no-known-mount", 0o755);
    negative.reg.as_mut().unwrap().mnt_id = Some(-1);
    let files = [
        directory(1, "/data/../outside/a", 0o755),
        directory(2, "../outside/b", 0o755),
        directory(3, "/../outside/c", 0o755),
        directory(4, "relative", 0o755),
        directory(5, "", 0o755),
        directory(6, "/data/./dot", 0o755),
        directory(7, "/data//empty", 0o755),
        directory(8, "/data/nul\0byte", 0o755),
        directory(9, &long, 0o755),
        directory(10, &name, 0o755),
        socket(11, "/data/../../outside/s"),
        socket(12, "relative"),
        watch(13, "/data/../outside/w", 0x100),
        nowhere,
        negative,
    ];
    let world = with_files(&files);
    let applied = call(&world, "apply");
    assert_eq!((applied.status, applied.stderr.as_str()), (0, ""));
    assert!(world.tree("outside").is_empty());
    assert_eq!(world.tree("vol"), ["d of-no-known-mount", "f file"]);
    // Images that are none: told, and what the mounts need is made all the same.
    for bytes in [&b"garbage"[..], &image(FILES, &files)[..20], b""] {
        let mut entries = container();
        entries.push(entry(3, 2, 9, "/", "/data/x"));
        let world = crate::images::world(&entries);
        write(&world, "files.img", bytes);
        let applied = call(&world, "apply");
        assert_eq!(applied.status, 0, "{applied:?}");
        let said = "what the checkpoint's tasks hold open is not considered: ";
        assert!(applied.stderr.contains(said), "{applied:?}");
        assert_eq!(world.tree("vol"), ["d x", "f file"]);
        // CRIU may fail of what premount doesn't see.
        let images = world.path("images");
        let images = images.to_str().unwrap();
        let whole = ["check", "--checkpoint", images, "--bundle", &world.bundle()];
        let checked = premount(&whole, b"", &[]);
        assert_eq!(checked.status, 1, "{checked:?}");
        assert!(checked.stdout.contains("\nIt is unknown"), "{checked:?}");
        assert!(checked.stderr.contains(said), "{checked:?}");
    }
}

/// Mounts that are each other's parents, on one mountpoint.
#[test]
fn mounts_in_a_circle_lead_nowhere() {
    let mut entries = container();
    entries.push(entry(3, 4, 9, "/", "/data"));
    entries.push(entry(4, 3, 9, "/", "/data"));
    entries[1].parent_mnt_id = 4;
    let world = world(&entries);
    write(
        &world,
        "files.img",
        &image(FILES, &[directory(1, "/data/x", 0o755)]),
    );
    assert!(!call(&world, "apply").stderr.contains("panicked"));
    assert_eq!(world.tree("vol"), ["f file"]);
}

#[test]
fn the_json_has_each_open_file() {
    let world = with_files(&[
        file(1, "/data/a/f", 0o600),
        directory(2, "/data/file", 0o755),
    ]);
    let (bundle, images) = (world.bundle(), world.path("images"));
    let images = images.to_str().unwrap();
    let all = [
        "check", "--bundle", &bundle, "--images", images, "--format", "json",
    ];
    let report: Value = serde_json::from_str(&premount(&all, b"", &[]).stdout).unwrap();
    let at = |path: &str| world.path(path).to_str().unwrap().to_owned();
    assert_eq!(
        report["open_files"][0],
        json!({
            "path": "/data/a/f",
            "host_path": at("vol/a/f"),
            "parent": 0,
            "kind": "file",
            "status": "missing",
            "missing": [
                {"path": at("vol/a"), "kind": "directory"},
                {"path": at("vol/a/f"), "kind": "file"},
            ],
            "created": [],
            "error": null,
        })
    );
    assert_eq!(report["open_files"][1]["status"], "failed");
    assert_eq!(report["summary"]["open_files"], 2);
    assert_eq!(report["summary"]["open_files_missing"], 1);
    assert_eq!(report["summary"]["open_files_failed"], 1);
    let plan = call(&world, "plan");
    assert!(
        plan.stdout.contains("/data/a/f") && plan.stdout.contains("FAILED"),
        "{plan:?}"
    );
}

/// As CRIU compares: the kind, then the size, then the mode; and nothing may have a socket's name.
#[test]
fn what_is_there_is_compared_as_criu_compares_it() {
    let cases: [(FileEntry, &str, Option<&str>); 11] = [
        (open(1, "/data/f", 0o100_644, Some(7)), "f", None),
        (
            open(1, "/data/f", 0o100_644, Some(8)),
            "f",
            Some("File data/f has bad size 7 (expect 8)"),
        ),
        (
            open(1, "/data/f", 0o100_600, Some(7)),
            "f",
            Some("File data/f has bad mode 0100644 (expect 0100600)"),
        ),
        (
            open(1, "/data/f", 0o100_600, Some(8)),
            "f",
            Some("has bad size 7"),
        ),
        (open(1, "/data/d", 0o40_755, None), "d", None),
        (
            open(1, "/data/d", 0o41_777, None),
            "d",
            Some("File data/d has bad mode 040755 (expect 041777)"),
        ),
        (
            open(1, "/data/f", 0o10_644, None),
            "f",
            Some("File data/f has bad mode 0100644 (expect 010644)"),
        ),
        (
            open(1, "/data/gone", 0o100_644, Some(1)),
            "",
            Some("Can't open file data/gone"),
        ),
        (
            open(1, "/data/gone", 0o20_666, None),
            "",
            Some("Can't open file data/gone"),
        ),
        (socket(1, "/data/f"), "f", Some("Address already in use")),
        (socket(1, "/data/d/s"), "d", None),
    ];
    for (open, there, criu) in cases {
        let world = with_files(std::slice::from_ref(&open));
        let (at, mode) = (world.path("vol").join(there), fs::Permissions::from_mode);
        match there {
            "f" => {
                world.file("vol/f");
                fs::set_permissions(at, mode(0o644)).unwrap();
            }
            "d" => {
                world.directory("vol/d");
                fs::set_permissions(at, mode(0o755)).unwrap();
            }
            _ => {}
        }
        world.directory("bundle/rootfs/data");
        let (bundle, images) = (world.bundle(), world.path("images"));
        let images = images.to_str().unwrap();
        let check = premount(
            &["check", "--bundle", &bundle, "--checkpoint", images],
            b"",
            &[],
        );
        assert_eq!(check.status == 0, criu.is_none(), "{open:?}: {check:?}");
        if let Some(criu) = criu {
            assert!(check.stdout.contains(criu), "{open:?}: {check:?}");
        }
        // Nothing of it is premount's to change, and nothing of it fails.
        let before = world.state_of_all();
        let applied = call(&world, "apply");
        assert_eq!(applied.status, 0, "{open:?}: {applied:?}");
        assert_eq!(world.state_of_all(), before, "{open:?}");
    }
}

/// A restore's log is short, however many files are missing.
#[test]
fn a_restore_lists_the_first_twenty() {
    let files: Vec<FileEntry> = (0..50)
        .map(|number| open(number, &format!("/data/{number}"), 0o100_644, Some(1)))
        .collect();
    let world = with_files(&files);
    fs::rename(world.path("images"), world.path("bundle/checkpoint")).unwrap();
    let hook = premount(&["hook"], world.state().as_bytes(), &[]);
    assert_eq!(hook.status, 0);
    let listed = hook.stderr.matches("missing-content: ").count();
    assert_eq!(listed, 20, "{hook:?}");
    let more = "30 more open files that are not listed";
    assert!(hook.stderr.contains(more), "{hook:?}");
    assert!(hook.stderr.contains("50 open files missing"), "{hook:?}");
}

/// A file that is bound itself, as engines bind /etc/hosts.
#[test]
fn a_file_that_is_bound_is_compared_too() {
    let mut hosts = entry(3, 1, 3, "/hosts", "/etc/hosts");
    hosts.ext_key = Some(b"/etc/hosts".to_vec());
    let mut mounts = container();
    mounts.push(hosts);
    for (size, is_fine) in [(7, true), (8, false)] {
        let mut world = world(&mounts);
        let host_file = world.file("hosts");
        fs::set_permissions(host_file, fs::Permissions::from_mode(0o644)).unwrap();
        world.directory("bundle/rootfs/data");
        world.directory("bundle/rootfs/etc");
        world.file("bundle/rootfs/etc/hosts");
        world.bind("hosts", "/etc/hosts");
        let files = [open(1, "/etc/hosts", 0o100_644, Some(size))];
        write(&world, "files.img", &image(FILES, &files));
        let check = call(&world, "check");
        assert_eq!(check.status == 0, is_fine, "{check:?}");
    }
}

/// CRIU removes a socket that has the name, and nothing else.
#[test]
fn a_socket_that_is_left_is_no_obstacle() {
    let world = with_files(&[socket(1, "/data/s")]);
    world.directory("bundle/rootfs/data");
    let _left = std::os::unix::net::UnixListener::bind(world.path("vol/s")).unwrap();
    let check = call(&world, "check");
    assert_eq!(check.status, 0, "{check:?}");
}

/// What premount makes is there when CRIU binds it.
#[test]
fn what_is_made_for_a_task_is_no_missing_source() {
    let mut entries = container();
    entries.push(entry(3, 2, 2, "/vol/a", "/data/b"));
    let world = world(&entries);
    let files = [
        directory(1, "/data/a", 0o755),
        directory(2, "/data/b", 0o755),
    ];
    write(&world, "files.img", &image(FILES, &files));
    fs::rename(world.path("images"), world.path("bundle/checkpoint")).unwrap();
    let ended = premount(&["hook"], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(!ended.stderr.contains("missing-source"), "{ended:?}");
    assert!(world.path("vol/a").is_dir(), "{ended:?}");
}
