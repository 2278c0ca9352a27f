// SPDX-License-Identifier: Apache-2.0
//! `--checkpoint` without a bundle: what a checkpoint needs of a host, where its volumes are with `--volume`, and
//! what is said of it then. tests/restore/damage.rs holds that against Podman and Docker.

mod hostile;
mod volumes;

use std::fs;

use serde_json::{Value, json};

use crate::common::archive::{gzipped, tar, zstandard};
use crate::common::file_image::{
    FILES, FileEntry, directory, fifo, file, image as file_image, open, socket,
};
use crate::common::mount_image::{MountEntry, entry, image};
use crate::common::{Ended, World, premount};

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

/// What a mount of the workload's shows has to be in the volume: CRIU binds it from there.
#[test]
fn what_a_mount_of_the_workloads_shows_is_needed() {
    let world = World::new();
    world.directory("vol");
    let mut all = mounts();
    // On the device of /data.
    all.push(entry(77, 1, 103, "/x", "/of-the-rootfs"));
    let checkpoint = Export::new(&all, &[]).with_spec(&[]).pack(&world);
    let alone = check(&checkpoint, &[]);
    assert_eq!(alone.status, 1, "{alone:?}");
    assert!(
        alone.stdout.contains("/data/x (not made by premount)\n"),
        "{alone:?}"
    );
    let named = volume(&world, "/data", "vol");
    let report = json_of("check", &checkpoint, &[&named]);
    assert_eq!(findings(&report), [("missing-source", "/of-the-rootfs")]);
    world.directory("vol/x");
    assert_eq!(check(&checkpoint, &[&named]).status, 0);
}
