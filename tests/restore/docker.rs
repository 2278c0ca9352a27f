// SPDX-License-Identifier: Apache-2.0
//! Docker's own checkpoints, by `docker checkpoint` and `docker start --checkpoint`, with a dockerd of the
//! test's and runc: the restore into a new volume fails without premount, and succeeds with it as CRIU's action
//! script.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::Test;
use crate::counter;
use crate::damage::{self, DAMAGES};
use crate::enter::{CGROUP, PREMOUNT, Root};
use crate::host::{Host, Runtime, tool};
use crate::open_files::add_holder;

const SOCKET: &str = "unix:///w/docker.sock";
const VOLUME: &str = "/w/volume";
/// Where Docker keeps CRIU's log of a restore that fails, if runc's CRIU configuration names it.
const LOG: &str = "/w/restore.log";

struct DockerCase {
    name: &'static str,
    /// What is told to `docker run`, beyond what each of them takes.
    options: &'static [&'static str],
    /// What the process does before it counts.
    script: &'static str,
    /// What CRIU says without premount.
    says: &'static str,
    /// What premount has to make in the volume: path, and whether it is a directory.
    made: &'static [(&'static str, bool)],
}

const CASES: &[DockerCase] = &[
    DockerCase {
        name: "a_working_directory_in_a_volume",
        options: &["--workdir=/data/app/deep", "--volume=/w/volume:/data"],
        script: "",
        says: "Can't open cwd",
        made: &[("app", true), ("app/deep", true)],
    },
    DockerCase {
        name: "a_volume_in_a_volume_in_run_with_read_only",
        options: &[
            "--read-only",
            "--tmpfs=/run",
            "--tmpfs=/tmp",
            "--volume=/w/volume:/run/data",
            "--volume=/w/nested:/run/data/nested/deep",
        ],
        script: "",
        says: "Can't stat mountpoint",
        made: &[("nested", true), ("nested/deep", true)],
    },
    DockerCase {
        name: "a_bind_in_a_bind_in_a_tmpfs",
        options: &[
            "--tmpfs=/mnt",
            "--volume=/w/volume:/mnt/data",
            "--volume=/w/file:/mnt/data/conf.d/file",
        ],
        script: "",
        says: "Can't stat mountpoint",
        made: &[("conf.d", true), ("conf.d/file", false)],
    },
    DockerCase {
        name: "a_volume_in_a_volume_in_dev",
        options: &[
            "--volume=/w/volume:/dev/data",
            "--volume=/w/nested:/dev/data/nested",
        ],
        script: "",
        says: "Can't stat mountpoint",
        made: &[("nested", true)],
    },
    DockerCase {
        name: "a_tmpfs_that_the_process_mounted_in_a_volume",
        options: &[
            "--cap-add=SYS_ADMIN",
            "--security-opt=apparmor=unconfined",
            "--volume=/w/volume:/data",
        ],
        script: "mkdir /data/cache; mount -t tmpfs t /data/cache;",
        says: "Can't stat mountpoint",
        made: &[("cache", true)],
    },
];

/// The tests with Docker.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for case in CASES {
            let name = format!("docker::runc::action::{}", case.name);
            tests.push(Test::new(root, &name, move || restore(case)));
        }
        let name = "docker::runc::what_is_said_of_a_checkpoint_alone";
        tests.push(Test::new(root, name, predicts));
    }
    tests
}

fn docker(arguments: &[&str]) -> Output {
    let output = Command::new("docker")
        .args(["--host", SOCKET])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        eprintln!("docker {arguments:?}: {line}");
    }
    output
}

fn succeeds(arguments: &[&str]) {
    let output = docker(arguments);
    assert!(
        output.status.success(),
        "docker {arguments:?}\n{}\n{}",
        log(),
        fs::read_to_string("/w/dockerd.log").unwrap_or_default()
    );
}

/// Restores the container. Docker copies the checkpoint to containerd each time, and fails for as long as containerd
/// has the last copy still.
fn start() -> Output {
    counter::wait_for("containerd keeps the last copy of the checkpoint", || {
        let output = docker(&["start", "--checkpoint", "point", "counter"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (!said.contains("already exists")).then_some(output)
    })
}

/// Starts dockerd with all its state under /w. It ends with the test's PID namespace.
fn start_docker() {
    fs::create_dir_all("/etc/criu").unwrap();
    fs::create_dir_all("/w/nested").unwrap();
    fs::write("/w/file", "content").unwrap();
    let log = fs::File::create("/w/dockerd.log").unwrap();
    let dockerd = Command::new("dockerd")
        .args(["--host", SOCKET, "--experimental"])
        .args(["--data-root", "/w/docker", "--exec-root", "/w/docker-exec"])
        .args(["--pidfile", "/w/docker.pid", "--storage-driver", "vfs"])
        .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    drop(dockerd);
    counter::wait_for("dockerd does not answer", || {
        docker(&["version"]).status.success().then_some(())
    });
    Host::add_programs(Path::new("/w/rootfs"));
    add_holder(Path::new("/w/rootfs"));
    fs::create_dir_all("/w/rootfs/var").unwrap();
    symlink("/run", "/w/rootfs/var/run").unwrap();
    tool("tar", &["cf", "/w/rootfs.tar", "-C", "/w/rootfs", "."]);
    succeeds(&["import", "/w/rootfs.tar", "test"]);
}

/// Docker removes CRIU's log of a restore that fails: so it goes elsewhere.
fn write_criu_config(line: &str) {
    let config = format!("manage-cgroups=ignore\nlog-file={LOG}\n{line}");
    fs::write("/etc/criu/runc.conf", config).unwrap();
}

/// What counts in CRIU's log.
fn log() -> String {
    let log = fs::read_to_string(LOG).unwrap_or_default();
    let telling = |line: &&str| line.contains("Error") || line.contains("premount");
    log.lines().filter(telling).collect::<Vec<_>>().join("\n")
}

fn new_volume() {
    let _ = fs::remove_dir_all(VOLUME);
    fs::create_dir(VOLUME).unwrap();
}

/// Starts a container that counts, and checkpoints it. Gives how far it has counted, and the checkpoint.
fn checkpoint(options: &[&str], script: &str) -> (u64, String) {
    start_docker();
    write_criu_config("");
    counter::reset();
    new_volume();
    let script = format!("set -e; {script} {}", counter::SCRIPT);
    let cgroup = format!("/{}", std::env::var(CGROUP).expect("the cgroup's name"));
    let mut arguments = vec!["run", "--detach", "--name", "counter", "--network", "none"];
    arguments.extend(["--security-opt", "seccomp=unconfined"]);
    arguments.extend(["--log-driver", "none", "--cgroup-parent", &cgroup]);
    arguments.extend(["--volume", "/w/count:/count"]);
    arguments.extend(options);
    arguments.extend(["test", "/bin/sh", "-c", &script]);
    succeeds(&arguments);
    let counted = counter::wait();
    succeeds(&["checkpoint", "create", "counter", "point"]);
    let inspected = docker(&["inspect", "--format", "{{.Id}}", "counter"]);
    let id = String::from_utf8(inspected.stdout).unwrap();
    let point = format!("/w/docker/containers/{}/checkpoints/point", id.trim());
    Host::assert_read(&point);
    (counted, point)
}

/// What `check` says of the checkpoint alone, against restores into damaged volumes. Docker exports no
/// configuration with it.
fn predicts() {
    let (counted, point) = checkpoint(&damage::VOLUMES, &damage::holder());
    damage::keep();
    damage::assert_unknown(&point);
    for damage in DAMAGES {
        damage.inflict();
        damage.assert_predicted(&point, Runtime::Runc);
        let _ = fs::remove_file(LOG);
        counter::forget();
        let has_restored = start().status.success();
        damage.assert_came_true(Runtime::Runc, has_restored, &log());
        if has_restored {
            counter::assert_counts_on(counted);
            succeeds(&["kill", "counter"]);
            succeeds(&["wait", "counter"]);
        }
    }
    succeeds(&["rm", "--force", "counter"]);
}

fn restore(case: &DockerCase) {
    let (counted, _) = checkpoint(case.options, case.script);
    new_volume();
    let alone = start();
    assert!(!alone.status.success(), "the restore without premount");
    assert!(
        log().contains(case.says),
        "CRIU failed otherwise: {}",
        log()
    );

    new_volume();
    counter::forget();
    write_criu_config(&format!("action-script {PREMOUNT}\n"));
    let with = start();
    assert!(
        with.status.success(),
        "the restore with premount: {}",
        log()
    );
    assert!(
        log().contains("INFO premount: created"),
        "premount wasn't called: {}",
        log()
    );
    counter::assert_counts_on(counted);
    for &(path, is_directory) in case.made {
        let path: PathBuf = Path::new(VOLUME).join(path);
        assert_eq!(path.is_dir(), is_directory, "{}", path.display());
        assert!(path.exists(), "{}", path.display());
    }
    succeeds(&["rm", "--force", "counter"]);
}
