// SPDX-License-Identifier: Apache-2.0
//! Podman's own checkpoints: its archives are read as they are, and its restore in place succeeds with
//! the action script where it fails without.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::Test;
use crate::enter::{CGROUP, PREMOUNT, Root};
use crate::world::{World, tool};

const VOLUME: &str = "/w/volume";

/// The tests with Podman.
pub fn tests() -> Vec<Test> {
    vec![
        Test::new(
            Root::Debian13,
            "podman::archives_of_every_compression_are_read",
            archives,
        ),
        // With its crun one can keep CRIU from the host's other cgroup hierarchies.
        Test::new(
            Root::Sid,
            "podman::a_restore_in_place_by_the_action_script",
            in_place,
        ),
    ]
}

fn podman(arguments: &[&str]) -> Output {
    let output = Command::new("podman")
        .args(["--cgroup-manager", "cgroupfs", "--runtime", "crun"])
        .args(arguments)
        .output()
        .unwrap();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        eprintln!("podman {arguments:?}: {line}");
    }
    output
}

fn succeeds(arguments: &[&str]) {
    assert!(podman(arguments).status.success(), "{arguments:?}");
}

/// A container with a volume, in which its process mounts a tmpfs; it counts into another volume.
fn start() {
    for (file, content) in [
        (
            "storage.conf",
            "[storage]\ndriver = \"vfs\"\nrunroot = \"/w/run\"\ngraphroot = \"/w/storage\"\n",
        ),
        (
            "policy.json",
            "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}",
        ),
        // The hybrid hierarchies of some hosts have no pids controller to give.
        ("containers.conf", "[containers]\npids_limit = 0\n"),
    ] {
        fs::create_dir_all("/etc/containers").unwrap();
        fs::write(Path::new("/etc/containers").join(file), content).unwrap();
    }
    for directory in [VOLUME, "/w/count", "/etc/criu", "/w/rootfs"] {
        fs::create_dir_all(directory).unwrap();
    }
    World::add_programs(Path::new("/w/rootfs"));
    tool("tar", &["cf", "/w/rootfs.tar", "-C", "/w/rootfs", "."]);
    succeeds(&["import", "/w/rootfs.tar", "localhost/test"]);
    let script = "set -e; mkdir /data/cache; mount -t tmpfs t /data/cache
        i=0; while :; do i=$((i+1)); echo $i > /count/n; sleep 0.02; done";
    let cgroup = format!("/{}", std::env::var(CGROUP).expect("the cgroup's name"));
    succeeds(&[
        "run",
        "--detach",
        "--name",
        "c",
        "--cgroup-parent",
        &cgroup,
        "--network",
        "none",
        "--pids-limit",
        "0",
        "--log-driver",
        "none",
        "--cap-add",
        "SYS_ADMIN",
        "--security-opt",
        "seccomp=unconfined",
        "--volume",
        "/w/volume:/data",
        "--volume",
        "/w/count:/count",
        "localhost/test",
        "/bin/sh",
        "-c",
        script,
    ]);
    wait_beyond(0);
}

fn count() -> u64 {
    let text = fs::read_to_string("/w/count/n").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn wait_beyond(before: u64) {
    let start = Instant::now();
    while count() <= before + 2 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the process does not count on"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// What counts in CRIU's log.
fn log() -> String {
    let containers = fs::read_dir("/w/storage/vfs-containers").unwrap();
    let log = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("userdata/restore.log"));
    let logs = containers.filter_map(|entry| log(entry.unwrap()).ok());
    let telling = |line: &&str| line.contains("Error") || line.contains("premount");
    logs.flat_map(|log| {
        log.lines()
            .filter(telling)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    })
    .collect::<Vec<_>>()
    .join("\n")
}

fn write_criu_config(line: &str) {
    fs::write(
        "/etc/criu/crun.conf",
        format!("manage-cgroups=ignore\n{line}"),
    )
    .unwrap();
}

fn end() {
    podman(&["rm", "--force", "--time", "0", "c"]);
}

fn archives() {
    start();
    for compression in ["none", "gzip", "zstd"] {
        let archive = format!("/w/{compression}");
        succeeds(&[
            "container",
            "checkpoint",
            "--leave-running",
            "--compress",
            compression,
            "--export",
            &archive,
            "c",
        ]);
        let ended = World::call_premount(&["plan", "--checkpoint", &archive]);
        assert_eq!(ended.status, 0, "{compression}: {}", ended.stderr);
        let tree = ended.stdout;
        assert!(
            tree.contains("├─ /data ") && tree.contains("from the host, by config.json"),
            "{tree}"
        );
        assert!(tree.contains("└─ /data/cache "), "{tree}");
        assert!(
            tree.contains("from the checkpoint, on the source of /data"),
            "{tree}"
        );
    }
    end();
}

fn in_place() {
    start();
    write_criu_config("");
    succeeds(&["container", "checkpoint", "--keep", "c"]);
    let counted = count();
    let empty = || {
        fs::remove_dir_all(VOLUME).unwrap();
        fs::create_dir(VOLUME).unwrap();
    };
    empty();
    let alone = podman(&["container", "restore", "--keep", "c"]);
    assert!(!alone.status.success(), "the restore without premount");
    assert!(
        log().contains("Can't stat mountpoint"),
        "CRIU failed otherwise: {}",
        log()
    );

    empty();
    fs::write(
        "/etc/criu/default.conf",
        format!("action-script {PREMOUNT}\n"),
    )
    .unwrap();
    let with = podman(&["container", "restore", "--keep", "c"]);
    assert!(
        with.status.success(),
        "the restore with premount: {}",
        log()
    );
    wait_beyond(counted);
    assert!(Path::new(VOLUME).join("cache").is_dir());
    end();
}
