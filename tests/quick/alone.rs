// SPDX-License-Identifier: Apache-2.0
//! `--checkpoint` without a bundle: what a checkpoint needs of a host, where its volumes are with `--volume`, and
//! what is said of it then. tests/restore/without_bundle.rs holds that against Podman and Docker.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::archive::{gzipped, tar, zstandard};
use crate::common::file_image::{
    FILES, FileEntry, directory, fifo, file, image as file_image, open, socket,
};
use crate::common::mount_image::{MountEntry, entry, image};
use crate::common::{Ended, World, binary, make_fifo, output, premount};

/// A mount that the runtime gave CRIU by this name.
fn external(id: u32, parent: u32, at: &str, key: &str) -> MountEntry {
    MountEntry {
        ext_key: Some(key.into()),
        ..entry(id, parent, 100 + id, "/", at)
    }
}

/// The rootfs, the volume /data and what engines mount.
fn mounts() -> Vec<MountEntry> {
    let mut proc = entry(2, 1, 2, "/", "/proc");
    proc.fstype = 1;
    vec![
        entry(1, 0, 1, "/rootfs", "/"),
        proc,
        external(3, 1, "/data", "/data"),
        external(4, 1, "/etc/hosts", "/etc/hosts"),
        external(5, 1, "/dev/shm", "/dev/shm"),
    ]
}

/// What Podman and CRI-O write beside the images. The sources are paths of another host.
fn spec(more: &[Value]) -> Value {
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/data", "type": "bind", "source": "/other/host/data",
               "options": ["rbind"]}),
        json!({"destination": "/etc/hosts", "type": "bind", "source": "/other/host/hosts",
               "options": ["bind"]}),
    ];
    mounts.extend_from_slice(more);
    json!({"ociVersion": "1.0.2", "root": {"path": "/other/host/rootfs"}, "mounts": mounts})
}

fn bind(destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": "/other/host/x", "options": ["rbind"]})
}

/// A checkpoint as an engine exports it: the paths and what is there.
struct Export(Vec<(String, Vec<u8>)>);

impl Export {
    fn new(mounts: &[MountEntry], files: &[FileEntry]) -> Self {
        Self(vec![
            ("checkpoint/mountpoints-12.img".to_owned(), image(mounts)),
            ("checkpoint/files.img".to_owned(), file_image(FILES, files)),
        ])
    }

    fn with(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.0.push((name.to_owned(), content.into()));
        self
    }

    fn with_spec(self, more: &[Value]) -> Self {
        self.with("spec.dump", spec(more).to_string())
    }

    fn tar(&self) -> Vec<u8> {
        let members = self.0.iter();
        let members: Vec<(&str, &[u8])> = members
            .map(|(path, bytes)| (&path[..], &bytes[..]))
            .collect();
        tar(&members)
    }

    /// Writes it as an archive.
    fn pack(&self, world: &World) -> String {
        let path = world.path("c.tar");
        fs::write(&path, self.tar()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes it as a directory.
    fn unpack(&self, world: &World) -> String {
        world.directory("unpacked/checkpoint");
        for (path, content) in &self.0 {
            fs::write(world.path("unpacked").join(path), content).unwrap();
        }
        world.path("unpacked").to_str().unwrap().to_owned()
    }
}

fn check(checkpoint: &str, more: &[&str]) -> Ended {
    premount(
        &[&["check", "--checkpoint", checkpoint], more].concat(),
        b"",
        &[],
    )
}

fn json_of(command: &str, checkpoint: &str, more: &[&str]) -> Value {
    let call = [command, "--checkpoint", checkpoint, "--format", "json"];
    let ended = premount(&[&call[..], more].concat(), b"", &[]);
    assert!(ended.status < 2, "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// `--volume` for a path of the world.
fn volume(world: &World, at: &str, path: &str) -> String {
    format!("--volume={at}={}", world.path(path).display())
}

/// The findings: kind, mount.
fn findings(report: &Value) -> Vec<(&str, &str)> {
    let all = report["findings"].as_array().unwrap().iter();
    all.map(|found| {
        (
            found["kind"].as_str().unwrap(),
            found["mount"].as_str().unwrap(),
        )
    })
    .collect()
}

fn log(id: u32, path: &str) -> FileEntry {
    let mut log = open(id, path, 0o100_644, None);
    // O_WRONLY | O_APPEND
    log.reg.as_mut().unwrap().flags = 0o2001;
    log
}

/// One of each kind.
fn held() -> Vec<FileEntry> {
    let [pipe, its_end] = fifo(5, "/data/run/fifo", 0o640);
    vec![
        directory(1, "/data/app", 0o1711),
        file(2, "/data/lock", 0o600),
        open(3, "/data/content", 0o100_644, Some(7)),
        log(4, "/data/log"),
        pipe,
        its_end,
        open(6, "/data/device", 0o20_666, None),
        socket(7, "/data/run/socket"),
        // Of the rootfs, which the engine provides.
        directory(8, "/etc", 0o755),
        open(9, "/etc/passwd", 0o100_644, Some(99)),
    ]
}

/// Mounts in the volume: one of the configuration's of each kind, one that nothing tells of, and the workload's.
fn nested() -> Vec<MountEntry> {
    let mut all = mounts();
    all.extend([
        external(10, 3, "/data/nested", "/data/nested"),
        external(11, 3, "/data/conf.d/file", "/data/conf.d/file"),
        external(12, 3, "/data/unknown", "/data/unknown"),
        entry(13, 3, 13, "/", "/data/cache"),
    ]);
    all
}

const BINDS: &str = r#"[{"source": "/other/host/x", "destination": "/data/nested", "file_type": "directory",
    "permissions": 493}, {"source": "/y", "destination": "/data/conf.d/file", "file_type": "file",
    "permissions": 420}, {"source": "/z", "destination": "/data/unknown", "file_type": "something"}]"#;

fn export() -> Export {
    let more = ["/data/nested", "/data/conf.d/file", "/data/unknown"].map(bind);
    Export::new(&nested(), &held())
        .with_spec(&more)
        .with(
            "config.dump",
            r#"{"id": "1", "runtime": "crun", "ociRuntime": "crun"}"#,
        )
        .with("bind.mounts", BINDS)
}

const NEEDS: &str = "
This checkpoint needs of the host:

/data: directory, which was /other/host/data
    directory             1711           /data/app
    directory                            /data/cache
    file                                 /data/conf.d/file
    file                  0644  7 bytes  /data/content (with its content)
    device                0666           /data/device (not made by premount)
    file                  0600  0 bytes  /data/lock
    log                   0644           /data/log (see io.premount.append)
    directory                            /data/nested
    directory                            /data/run
    FIFO                  0640           /data/run/fifo
    no file but a socket                 /data/run/socket
    directory or file                    /data/unknown

/data/nested: directory, which was /other/host/x

/data/unknown: directory or file, which was /other/host/x

/data/conf.d/file: file, which was /other/host/x
";

#[test]
fn what_a_checkpoint_needs_of_a_host_is_listed() {
    let world = World::new();
    let export = export();
    let (packed, unpacked) = (export.pack(&world), export.unpack(&world));
    let mut all = vec![packed, unpacked];
    for (name, bytes) in [
        ("c.tar.gz", gzipped(&export.tar())),
        ("c.tar.zst", zstandard(&export.tar())),
    ] {
        fs::write(world.path(name), bytes).unwrap();
        all.push(world.path(name).to_str().unwrap().to_owned());
    }
    let before = world.state_of_all();
    for checkpoint in all {
        let plan = premount(&["plan", "--checkpoint", &checkpoint], b"", &[]);
        assert_eq!((plan.status, plan.stderr.as_str()), (0, ""));
        assert!(plan.stdout.starts_with(&checkpoint), "{plan:?}");
        assert!(plan.stdout.ends_with(NEEDS), "{}", plan.stdout);
        let ended = check(&checkpoint, &[]);
        assert_eq!((ended.status, ended.stderr.as_str()), (1, ""));
        let verdict = format!(
            "{NEEDS}\nIt is unknown whether this checkpoint can be restored here: nothing says what will be at /data \
             (see --volume).\n"
        );
        assert!(ended.stdout.ends_with(&verdict), "{}", ended.stdout);
    }
    assert_eq!(world.state_of_all(), before);
}

#[test]
fn the_json_of_a_checkpoint_without_a_bundle() {
    let world = World::new();
    let checkpoint = export().pack(&world);
    for command in ["plan", "check"] {
        let report = json_of(command, &checkpoint, &[]);
        assert_eq!(report["version"], 1);
        assert_eq!(report["checkpoint"], checkpoint);
        let sources = report["needs"].as_array().unwrap();
        let named = |at: &str| {
            sources
                .iter()
                .find(|source| source["destination"] == at)
                .unwrap()
        };
        let data = named("/data");
        assert_eq!(data["kind"], "directory");
        assert_eq!(data["by_engine"], false);
        assert_eq!(data["was"], "/other/host/data");
        let inodes = data["inodes"].as_array().unwrap();
        assert_eq!(inodes.len(), 12);
        assert_eq!(
            inodes[0],
            json!({"path": "/data/app", "kind": "directory", "mode": "1711", "size": null,
                   "by_premount": true})
        );
        assert_eq!(
            inodes[3],
            json!({"path": "/data/content", "kind": "file", "mode": "0644", "size": 7,
                   "by_premount": false})
        );
        assert_eq!(named("/data/unknown")["kind"], Value::Null);
        let hosts = named("/etc/hosts");
        assert_eq!(
            (&hosts["kind"], &hosts["by_engine"]),
            (&json!("file"), &json!(true))
        );
        assert_eq!(named("/dev/shm")["was"], Value::Null);
    }
    let report = json_of("check", &checkpoint, &[]);
    for null in ["bundle", "rootfs"] {
        assert_eq!(report[null], Value::Null);
    }
    for list in ["mounts", "open_files"] {
        let all = report[list].as_array().unwrap();
        assert!(!all.is_empty(), "{list}");
        for one in all {
            assert_eq!(
                (&one["host_path"], &one["error"]),
                (&Value::Null, &Value::Null),
                "{one}"
            );
        }
    }
    assert_eq!(findings(&report), []);
    // With a bundle there is nothing of it.
    let bundle = world.bundle();
    let report = json_of("check", &checkpoint, &["--bundle", &bundle]);
    assert!(report.get("needs").is_none() && report.get("checkpoint").is_none());
    assert_eq!(report["bundle"], bundle);
}

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
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &[(&str, &str)]); 12] = [
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

/// Nested sources that nobody has named need nothing themselves, and only have to be there.
#[test]
fn what_needs_nothing_leaves_nothing_unknown() {
    let world = World::new();
    let mut files = vec![directory(1, "/etc", 0o755)];
    let checkpoint = Export::new(&mounts(), &files).with_spec(&[]).pack(&world);
    let ended = check(&checkpoint, &[]);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert!(
        ended.stdout.ends_with(
            "/data: directory or file, which was /other/host/data\n\nThis checkpoint can be restored here.\n"
        ),
        "{ended:?}"
    );
    // What premount doesn't make counts in the engine's too, and nothing else.
    files.push(directory(2, "/dev/shm/made", 0o755));
    let checkpoint = Export::new(&mounts(), &files).with_spec(&[]).pack(&world);
    assert_eq!(check(&checkpoint, &[]).status, 0);
    files.push(open(3, "/etc/hosts", 0o100_644, Some(9)));
    let checkpoint = Export::new(&mounts(), &files).with_spec(&[]).pack(&world);
    let ended = check(&checkpoint, &[]);
    assert_eq!(ended.status, 1);
    assert!(
        ended
            .stdout
            .contains("nothing says what will be at /etc/hosts (see"),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains("/etc/hosts: file of the engine's\n"),
        "{ended:?}"
    );
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

/// Under a mount that was read-only a task made nothing, and premount does not either.
#[test]
fn what_is_under_a_read_only_mount_is_not_made() {
    let world = World::new();
    let mut mounts = mounts();
    // MS_RDONLY
    mounts[2].flags = 1;
    let checkpoint = Export::new(&mounts, &[directory(1, "/data/app", 0o755)]).pack(&world);
    let plan = premount(&["plan", "--checkpoint", &checkpoint], b"", &[]);
    assert_eq!((plan.status, plan.stderr.as_str()), (0, ""), "{plan:?}");
    let line = "    directory  0755    /data/app (not made by premount)\n";
    assert!(plan.stdout.contains(line), "{plan:?}");
    let ended = check(&checkpoint, &[]);
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""), "{ended:?}");
    assert!(ended.stdout.contains("It is unknown"), "{ended:?}");
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

/// The sources in spec.dump are somebody else's choice. Here they are a directory that has all that is needed, and a
/// FIFO.
#[test]
fn no_source_of_the_checkpoints_is_ever_opened() {
    let world = World::new();
    let trap = world.directory("the-trap");
    let file = world.file("the-trap/content");
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    make_fifo(&world.path("the-trap/hosts"));
    let mut spec = spec(&[]);
    spec["root"]["path"] = json!(trap.join("rootfs"));
    spec["mounts"][1]["source"] = json!(trap);
    spec["mounts"][2]["source"] = json!(trap.join("hosts"));
    let binds = json!([{"source": trap, "destination": "/data", "file_type": "directory"}]);
    let files = [
        open(1, "/data/content", 0o100_644, Some(7)),
        open(2, "/etc/hosts", 0o100_644, Some(7)),
    ];
    let export = Export::new(&mounts(), &files)
        .with("spec.dump", spec.to_string())
        .with(
            "config.dump",
            json!({"runtime": trap, "rootfs": trap}).to_string(),
        )
        .with("bind.mounts", binds.to_string());
    for checkpoint in [export.pack(&world), export.unpack(&world)] {
        let trace = world.path("trace");
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-s",
            "4096",
            "-e",
            "trace=file,desc",
            "-e",
            "abbrev=none",
            "-o",
        ]);
        strace.arg(&trace).arg(binary());
        let ended = output(strace.args(["check", "--checkpoint", &checkpoint]));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = String::from_utf8(ended.stdout).unwrap();
        assert!(said.contains("will be at /data, /etc/hosts (see"), "{said}");
        let trace = fs::read_to_string(trace).unwrap();
        let names_it = |line: &&str| {
            let is_read_or_write = ["read(", "write("].iter().any(|call| line.contains(call));
            line.contains("the-trap") && !is_read_or_write
        };
        let opened: Vec<&str> = trace.lines().filter(names_it).collect();
        assert!(opened.is_empty(), "{opened:?}");
        assert!(trace.contains("openat"), "it was traced");
    }
    // And the very same directory, when the caller names it.
    let checkpoint = export.pack(&world);
    let ended = check(&checkpoint, &[&volume(&world, "/data", "the-trap")]);
    assert!(
        ended.stdout.contains("will be at /etc/hosts (see"),
        "{ended:?}"
    );
}

/// Mountpoints that runc creates itself: those of the configuration, unless one of its tmpfs is above by name.
#[test]
fn the_runtime_is_told_from_the_checkpoint() {
    let mut masked = entry(30, 2, 30, "/", "/proc/scsi");
    masked.fstype = 5;
    let empty = MountEntry {
        root: b"/run/crun/.empty-directory".to_vec(),
        ..external(31, 2, "/proc/scsi", "/run/crun/.empty-directory")
    };
    let named = |name: &str| Some(json!({"runtime": name}).to_string());
    let cases: [(Option<String>, Option<&MountEntry>, Option<&str>, bool); 11] = [
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
        spec["linux"] = json!({"maskedPaths": ["/proc/scsi"]});
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

#[test]
fn a_spec_that_is_none_is_refused_and_other_metadata_says_nothing() {
    let world = World::new();
    let spec = |content: Vec<u8>| Export::new(&mounts(), &held()).with("spec.dump", content);
    let padded = |size: usize| {
        let mut text = self::spec(&[]).to_string().into_bytes();
        text.resize(size, b' ');
        text
    };
    let refused: [(Vec<u8>, &str); 6] = [
        (padded(5 << 20), "longer than"),
        (b"\xff\xfe".to_vec(), "not UTF-8"),
        (b"{\"root\": ".to_vec(), "EOF"),
        (b"[]".to_vec(), ""),
        (b"{}".to_vec(), "root"),
        (
            b"{\"root\": {\"path\": \"/x\"}, \"mounts\": 7}".to_vec(),
            "mounts",
        ),
    ];
    for (content, reason) in refused {
        let export = spec(content);
        for checkpoint in [export.pack(&world), export.unpack(&world)] {
            let ended = check(&checkpoint, &[]);
            assert_eq!(
                (ended.status, ended.stdout.as_str()),
                (2, ""),
                "{reason}: {ended:?}"
            );
            assert_eq!(ended.stderr.lines().count(), 1, "{reason}: {ended:?}");
            assert!(ended.stderr.contains("spec.dump"), "{reason}: {ended:?}");
            assert!(ended.stderr.contains(reason), "{reason}: {ended:?}");
        }
    }
    let expected = check(&spec(padded(4 << 20)).pack(&world), &[]);
    assert_eq!(expected.status, 1, "{expected:?}");
    for garbage in [
        &b""[..],
        b"garbage",
        b"\xff",
        b"{}",
        b"[7]",
        b"[[]]",
        b"null",
        b"{\"runtime\": 7}",
    ] {
        let export = Export::new(&mounts(), &held())
            .with_spec(&[])
            .with("config.dump", garbage)
            .with("bind.mounts", garbage);
        for checkpoint in [export.pack(&world), export.unpack(&world)] {
            let ended = check(&checkpoint, &[]);
            assert_eq!(ended.status, 1, "{ended:?}");
            assert_eq!(
                (&ended.stdout, &ended.stderr),
                (&expected.stdout, &expected.stderr)
            );
        }
    }
}

/// Where there is a bundle, nobody needs what the engine has exported.
#[test]
fn a_spec_that_nobody_needs_is_not_in_the_way() {
    let world = World::new();
    let export = Export::new(&mounts(), &[]).with("spec.dump", vec![b' '; 5 << 20]);
    let checkpoint = export.pack(&world);
    let mut with_bundle = World::new();
    with_bundle.directory("vol");
    with_bundle.bind("vol", "/data");
    let ended = check(&checkpoint, &["--bundle", &with_bundle.bundle()]);
    assert!(ended.status < 2, "{ended:?}");
}

/// A terminal shows what is in a checkpoint, and is not told what to do by it.
#[test]
fn names_are_escaped() {
    let mut all = mounts();
    all.push(external(10, 1, "/a\n\u{1b}[31mb", "/a\n\u{1b}[31mb"));
    let files = [directory(1, "/a\n\u{1b}[31mb/c\n\u{1b}[2J", 0o755)];
    let more = [json!({"destination": "/a\n\u{1b}[31mb", "type": "bind",
                       "source": "/was\n\u{1b}[2J", "options": ["bind"]})];
    let world = World::new();
    let checkpoint = Export::new(&all, &files).with_spec(&more).pack(&world);
    for command in ["plan", "check"] {
        let ended = premount(&[command, "--checkpoint", &checkpoint], b"", &[]);
        assert!(ended.status < 2, "{ended:?}");
        assert!(
            !ended.stdout.contains('\u{1b}') && !ended.stderr.contains('\u{1b}'),
            "{ended:?}"
        );
        assert!(
            ended.stdout.contains("/a\\n\\u{1b}[31mb/c\\n\\u{1b}[2J"),
            "{}",
            ended.stdout
        );
        assert!(
            ended.stdout.contains("which was /was\\n\\u{1b}[2J\n"),
            "{}",
            ended.stdout
        );
    }
    let ended = check(&checkpoint, &["--volume=/x\n\u{1b}[31m=/y"]);
    assert_eq!(ended.status, 2);
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn hostile_mounts_do_no_harm() {
    let root = || entry(1, 0, 1, "/rootfs", "/");
    let cases: Vec<(&str, Vec<MountEntry>, Vec<FileEntry>)> = vec![
        (
            "its own parent",
            vec![root(), external(3, 3, "/data", "/data")],
            held(),
        ),
        (
            "a circle",
            vec![
                root(),
                external(3, 4, "/data", "/data"),
                external(4, 3, "/data/x", "/data/x"),
            ],
            held(),
        ),
        ("no root", vec![external(3, 2, "/data", "/data")], held()),
        (
            "no such parent",
            vec![root(), external(3, 99, "/data", "/data")],
            held(),
        ),
        ("on /", vec![root(), external(3, 1, "/", "/")], held()),
        (
            "nothing but an external root",
            vec![external(1, 0, "/", "/")],
            held(),
        ),
        (
            "twice",
            vec![
                root(),
                external(3, 1, "/data", "/data"),
                external(4, 3, "/data", "/data"),
            ],
            held(),
        ),
        (
            "a number twice",
            vec![
                root(),
                external(3, 1, "/data", "/data"),
                external(3, 1, "/more", "/more"),
            ],
            held(),
        ),
        (
            "an empty key",
            vec![root(), external(3, 1, "/data", "")],
            held(),
        ),
        (
            "a key that climbs",
            vec![root(), external(3, 1, "/data", "/../../data")],
            held(),
        ),
        (
            "a file that is a directory",
            vec![
                root(),
                external(3, 1, "/etc/hosts", "/etc/hosts"),
                external(4, 3, "/etc/hosts/x", "/etc/hosts/x"),
            ],
            vec![directory(1, "/etc/hosts/y/z", 0o755)],
        ),
        ("nothing", vec![], held()),
    ];
    for (name, mounts, files) in cases {
        let world = World::new();
        world.directory("vol");
        let export =
            Export::new(&mounts, &files).with_spec(&[bind("/data"), bind("/data"), bind("/")]);
        let checkpoint = export.pack(&world);
        let before = world.state_of_all();
        for more in [&[][..], &[&volume(&world, "/data", "vol")[..]]] {
            for command in ["plan", "check"] {
                let call = [&[command, "--checkpoint", &checkpoint], more].concat();
                let ended = premount(&call, b"", &[]);
                assert!((0..=2).contains(&ended.status), "{name}: {ended:?}");
                assert!(!ended.stderr.contains("panicked"), "{name}: {ended:?}");
                assert!(command == "check" || ended.status != 1, "{name}: {ended:?}");
            }
        }
        assert_eq!(world.state_of_all(), before, "{name}");
    }
}

#[test]
fn thousands_of_mounts_are_listed_in_bounds() {
    let mut all = mounts();
    let names: Vec<String> = (0..5000).map(|number| format!("/data/{number}")).collect();
    for (id, at) in (100..).zip(&names) {
        all.push(external(id, 3, at, at));
    }
    let more: Vec<Value> = names.iter().map(|at| bind(at)).collect();
    let world = World::new();
    let checkpoint = Export::new(&all, &held()).with_spec(&more).pack(&world);
    let ended = check(&checkpoint, &[]);
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""));
    assert!(
        ended
            .stdout
            .contains("nothing says what will be at /data (see"),
        "{ended:.1000?}"
    );
}
