// SPDX-License-Identifier: Apache-2.0
//! containerd's own checkpoints, by `ctr` and a containerd of the test's: its restore with runc succeeds
//! with the action script where it fails without. And what becomes of one with crun.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::Test;
use crate::counter;
use crate::enter::{CGROUP, PREMOUNT, Root};
use crate::host::{Host, SOURCES, mountpoints_of, snapshot, tool};

const SOCKET: &str = "/w/containerd/socket";
/// The directory of containerd's own for the container, with CRIU's logs.
const WORK: &str = "/w/containerd/root/io.containerd.runtime.v2.task/default/c";

struct ContainerdCase {
    name: &'static str,
    /// The binds: destination, and whether the source is a file. All are beside each other on the host.
    binds: &'static [(&'static str, bool)],
    /// What premount has to make in the first one's source: path and mode.
    made: &'static [(&'static str, u32)],
}

const DIRECTORY: u32 = 0o40_755;
const FILE: u32 = 0o100_644;

const CASES: &[ContainerdCase] = &[
    ContainerdCase {
        // Below /run, which is a tmpfs in containerd's own configuration: runc makes nothing there.
        name: "a_token_in_the_secrets_below_run",
        binds: &[
            ("/run/secrets", false),
            ("/run/secrets/kubernetes.io/serviceaccount", false),
        ],
        made: &[
            ("kubernetes.io", DIRECTORY),
            ("kubernetes.io/serviceaccount", DIRECTORY),
        ],
    },
    ContainerdCase {
        name: "a_volume_in_a_volume_below_run",
        binds: &[("/run/data", false), ("/run/data/nested/dir", false)],
        made: &[("nested", DIRECTORY), ("nested/dir", DIRECTORY)],
    },
    ContainerdCase {
        name: "a_file_in_a_volume_below_run",
        binds: &[("/run/data", false), ("/run/data/etc/settings", true)],
        made: &[("etc", DIRECTORY), ("etc/settings", FILE)],
    },
];

/// The tests with containerd.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for case in CASES {
            let name = format!("containerd::runc::action::{}", case.name);
            tests.push(Test::new(root, &name, move || restore(case)));
        }
    }
    // Should one of these come to work, the README has to say so.
    tests.push(Test::new(
        Root::Debian13,
        "containerd::crun::has_no_directory_for_criu_at_checkpoint",
        crun_does_not_checkpoint,
    ));
    tests.push(Test::new(
        Root::Sid,
        "containerd::crun::does_not_know_an_option_at_restore",
        crun_does_not_restore,
    ));
    tests
}

fn ctr(arguments: &[&str]) -> Output {
    let output = Command::new("ctr")
        .args(["--address", SOCKET])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        eprintln!("ctr {arguments:?}: {line}");
    }
    output
}

fn succeeds(arguments: &[&str]) -> String {
    let output = ctr(arguments);
    assert!(output.status.success(), "ctr {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What ctr says when it fails.
fn fails(arguments: &[&str]) -> String {
    let output = ctr(arguments);
    assert!(!output.status.success(), "ctr {arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Starts containerd with all its state under /w. It ends with the test's PID namespace.
fn start_containerd() {
    fs::create_dir_all("/w/containerd").unwrap();
    fs::create_dir_all("/etc/criu").unwrap();
    let config = format!(
        "version = 2
root = \"/w/containerd/root\"
state = \"/w/containerd/state\"
disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\", \
\"io.containerd.nri.v1.nri\"]
[grpc]
address = \"{SOCKET}\"
"
    );
    fs::write("/w/containerd/config.toml", config).unwrap();
    let log = fs::File::create("/w/containerd/log").unwrap();
    let containerd = Command::new("containerd")
        .args(["--config", "/w/containerd/config.toml"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    drop(containerd);
    counter::wait_for("containerd does not answer", || {
        ctr(&["version"]).status.success().then_some(())
    });
}

/// Makes an image of the container's programs, in the form of `docker save`, and imports it.
fn import_image() {
    let image = Path::new("/w/image");
    Host::add_programs(Path::new("/w/rootfs"));
    fs::create_dir_all(image).unwrap();
    tool("tar", &["cf", "/w/image/layer.tar", "-C", "/w/rootfs", "."]);
    let digest = Command::new("sha256sum")
        .arg("/w/image/layer.tar")
        .output()
        .unwrap();
    let digest = String::from_utf8(digest.stdout).unwrap();
    let digest = digest.split(' ').next().unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([
        {"Config": "config.json", "RepoTags": ["localhost/test:1"], "Layers": ["layer.tar"]}
    ]);
    fs::write(image.join("config.json"), config.to_string()).unwrap();
    fs::write(image.join("manifest.json"), manifest.to_string()).unwrap();
    tool("tar", &["cf", "/w/image.tar", "-C", "/w/image", "."]);
    succeeds(&[
        "images",
        "import",
        "--snapshotter",
        "native",
        "/w/image.tar",
    ]);
}

fn source(index: usize) -> PathBuf {
    Path::new(SOURCES).join(index.to_string())
}

/// The sources as they are before any start: empty.
fn new_sources(case: &ContainerdCase) {
    let _ = fs::remove_dir_all(SOURCES);
    fs::create_dir_all(SOURCES).unwrap();
    for (index, &(_, is_file)) in case.binds.iter().enumerate() {
        if is_file {
            fs::write(source(index), "").unwrap();
        } else {
            fs::create_dir(source(index)).unwrap();
        }
    }
}

/// Starts the container, and waits until it counts.
fn run(case: &ContainerdCase, options: &[&str]) {
    counter::reset();
    new_sources(case);
    let bind = |source: &Path, destination: &str| {
        format!(
            "type=bind,src={},dst={destination},options=rbind:rw",
            source.display()
        )
    };
    let mut binds = vec![bind(Path::new(counter::VOLUME), "/count")];
    for (index, &(destination, _)) in case.binds.iter().enumerate() {
        binds.push(bind(&source(index), destination));
    }
    let cgroup = format!("/{}", std::env::var(CGROUP).expect("the cgroup's name"));
    let mut arguments = vec!["run", "--detach", "--null-io", "--snapshotter", "native"];
    // The hybrid hierarchies of some hosts have no cpu controller to give.
    arguments.extend(["--cpu-shares", "0", "--cgroup", &cgroup]);
    arguments.extend(options);
    for bind in &binds {
        arguments.extend(["--mount", bind]);
    }
    arguments.extend(["localhost/test:1", "c", "/bin/sh", "-c", counter::SCRIPT]);
    succeeds(&arguments);
    counter::wait();
}

/// Checkpoints the container. It runs on, as containerd does it.
fn checkpoint() -> Output {
    ctr(&[
        "containers",
        "checkpoint",
        "--rw",
        "--image",
        "--task",
        "c",
        "localhost/checkpoint:1",
    ])
}

const RESTORE: &[&str] = &[
    "containers",
    "restore",
    "--rw",
    "--live",
    "c",
    "localhost/checkpoint:1",
];

fn remove() {
    succeeds(&["tasks", "rm", "--force", "c"]);
    succeeds(&["containers", "rm", "c"]);
}

/// The mountpoints of the container, in its own view.
fn mountpoints() -> Vec<String> {
    let tasks = succeeds(&["tasks", "ls"]);
    let task = tasks.lines().find(|line| line.starts_with("c ")).unwrap();
    mountpoints_of(task.split_whitespace().nth(1).unwrap())
}

/// What counts in CRIU's log.
fn log() -> String {
    let log = fs::read_to_string(Path::new(WORK).join("restore.log")).unwrap_or_default();
    let telling = |line: &&str| line.contains("Error") || line.contains("premount");
    log.lines().filter(telling).collect::<Vec<_>>().join("\n")
}

fn write_criu_config(line: &str) {
    for file in ["runc.conf", "crun.conf"] {
        let config = format!("manage-cgroups=ignore\n{line}");
        fs::write(Path::new("/etc/criu").join(file), config).unwrap();
    }
}

fn restore(case: &ContainerdCase) {
    start_containerd();
    import_image();
    write_criu_config("");
    run(case, &[]);
    let before = mountpoints();
    let counted = counter::wait();
    assert!(checkpoint().status.success(), "the checkpoint");
    remove();

    new_sources(case);
    fails(RESTORE);
    assert!(
        log().contains("Can't stat mountpoint"),
        "CRIU failed otherwise: {}",
        log()
    );
    remove();

    new_sources(case);
    counter::forget();
    let empty = snapshot(Path::new(SOURCES));
    write_criu_config(&format!("action-script {PREMOUNT}\n"));
    let restored = ctr(RESTORE).status.success();
    assert!(restored, "the restore with premount: {}", log());
    counter::assert_counts_on(counted);
    assert_eq!(before, mountpoints(), "the mounts are those of before");
    let mut after = snapshot(Path::new(SOURCES));
    for &(path, mode) in case.made {
        let made = after.remove(&Path::new("0").join(path));
        let made = made.unwrap_or_else(|| panic!("{path} was not made"));
        assert_eq!((made.mode, made.uid, made.gid), (mode, 0, 0), "{path}");
    }
    assert_eq!(empty, after, "something else changed in the sources");
    remove();
}

/// crun 1.21 doesn't make the directory that containerd's shim has for CRIU's logs.
fn crun_does_not_checkpoint() {
    start_containerd();
    import_image();
    write_criu_config(&format!("action-script {PREMOUNT}\n"));
    run(&CASES[0], &["--runc-binary", "/usr/bin/crun"]);
    let output = checkpoint();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "the checkpoint");
    assert!(said.contains("error opening CRIU work directory"), "{said}");
    remove();
}

/// crun 1.28 makes it, and fails at restore, before CRIU is there: the shim calls it with runc's option
/// -no-subreaper.
fn crun_does_not_restore() {
    start_containerd();
    import_image();
    write_criu_config(&format!("action-script {PREMOUNT}\n"));
    run(&CASES[0], &["--runc-binary", "/usr/bin/crun"]);
    assert!(checkpoint().status.success(), "the checkpoint");
    remove();
    let said = fails(RESTORE);
    assert!(
        said.contains("/usr/bin/crun did not terminate successfully: exit status 64"),
        "{said}"
    );
    assert!(
        !Path::new(WORK).join("restore.log").exists(),
        "CRIU has been called"
    );
}
