// SPDX-License-Identifier: Apache-2.0
//! Podman with one runtime, and a container whose process counts into a volume.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::cases::{PodmanCase, Volume};
use crate::enter::{CGROUP, PREMOUNT};
use crate::host::{self, Host, Runtime, tool};
use crate::open_files::add_holder;

/// The container that is checkpointed.
pub const NAME: &str = "c";
/// And another name for it.
pub const NEW_NAME: &str = "new";
/// Its archive.
pub const ARCHIVE: &str = "/w/archive";
const IMAGE: &str = "localhost/test";
const STORAGE: &str = "/w/storage";
/// What Podman copies to each container's /run/secrets.
const SECRETS: &str = "/w/secrets";
/// What the process has counted to.
const COUNT: &str = "/w/count/n";

/// Podman.
pub struct Podman {
    runtime: Runtime,
}

impl Podman {
    /// Podman with an image, with sources for volumes, the directory /w/nested and the file /w/file, and
    /// with a secret, `token`.
    pub fn new(runtime: Runtime) -> Self {
        Self::with_programs(runtime, |_| {})
    }

    /// The same with the holder in the image.
    pub fn with_holder(runtime: Runtime) -> Self {
        Self::with_programs(runtime, add_holder)
    }

    fn with_programs(runtime: Runtime, add: fn(&Path)) -> Self {
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
        for directory in ["/w/count", "/w/nested", "/etc/criu", "/w/rootfs"] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write("/w/file", "content").unwrap();
        Host::add_programs(Path::new("/w/rootfs"));
        add(Path::new("/w/rootfs"));
        // As in Debian's images.
        fs::create_dir_all("/w/rootfs/var").unwrap();
        symlink("/run", "/w/rootfs/var/run").unwrap();
        tool("tar", &["cf", "/w/rootfs.tar", "-C", "/w/rootfs", "."]);
        let podman = Self { runtime };
        podman.succeeds(&["import", "/w/rootfs.tar", IMAGE]);
        podman.succeeds(&["secret", "create", "token", "/w/file"]);
        podman.set_premount(false);
        podman
    }

    /// Calls it.
    pub fn call(&self, arguments: &[&str]) -> Output {
        let output = Command::new("podman")
            .args(["--cgroup-manager", "cgroupfs"])
            .args(["--runtime", self.runtime.name()])
            .args(arguments)
            .output()
            .unwrap();
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            eprintln!("podman {arguments:?}: {line}");
        }
        output
    }

    /// Calls it, and that has to succeed.
    pub fn succeeds(&self, arguments: &[&str]) {
        assert!(
            self.call(arguments).status.success(),
            "podman {arguments:?}\n{}",
            log()
        );
    }

    /// Calls it, and that has to fail; what it says.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert!(
            !output.status.success(),
            "podman {arguments:?} succeeds\n{}",
            log()
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Has CRIU call premount, or not.
    pub fn set_premount(&self, with: bool) {
        let line = if with {
            format!("action-script {PREMOUNT}\n")
        } else {
            String::new()
        };
        let file = format!("/etc/criu/{}.conf", self.runtime.name());
        // CRIU is kept from the host's other cgroup hierarchies.
        fs::write(file, format!("manage-cgroups=ignore\n{line}")).unwrap();
    }

    /// Starts a case's container in a new volume, and lets it count.
    pub fn run(&self, case: &PodmanCase) {
        match case.volume {
            Volume::Host => fs::create_dir(case.volume.path()).unwrap(),
            Volume::RunSecrets => {
                fs::create_dir(SECRETS).unwrap();
                let mounts = format!("{SECRETS}:/run/secrets\n");
                fs::write("/etc/containers/mounts.conf", mounts).unwrap();
            }
            Volume::Named => {}
        }
        let script = format!(
            "set -e; {}
            i=0; while :; do i=$((i+1)); echo $i > /count/n; sleep 0.02; done",
            case.script
        );
        let cgroup = format!("/{}", std::env::var(CGROUP).expect("the cgroup's name"));
        let mut arguments = vec!["run", "--detach", "--name", NAME];
        arguments.extend(["--cgroup-parent", &cgroup, "--pids-limit", "0"]);
        arguments.extend(["--network", "none", "--log-driver", "none"]);
        arguments.extend(["--security-opt", "seccomp=unconfined"]);
        arguments.extend(["--volume", "/w/count:/count"]);
        arguments.extend(case.options);
        arguments.extend([IMAGE, "/bin/sh", "-c", &script]);
        self.succeeds(&arguments);
        wait_beyond(0);
    }

    /// Checkpoints the container for a restore in place.
    pub fn checkpoint(&self) {
        self.succeeds(&["container", "checkpoint", "--keep", NAME]);
        for container in fs::read_dir(Path::new(STORAGE).join("vfs-containers")).unwrap() {
            let directory = container.unwrap().path().join("userdata");
            if directory.join("checkpoint").exists() {
                Host::assert_read(directory.to_str().unwrap());
            }
        }
    }

    /// Checkpoints the container to an archive, and removes it.
    pub fn export(&self) {
        // A volume's content would come along in the archive, mountpoints and all.
        let to = ["--ignore-volumes", "--export", ARCHIVE, NAME];
        self.succeeds(&[&["container", "checkpoint"], &to[..]].concat());
        Host::assert_read(ARCHIVE);
        self.remove(NAME);
    }

    /// Ends a container, if it is there, and removes it.
    pub fn remove(&self, name: &str) {
        self.succeeds(&["rm", "--force", "--ignore", "--time", "0", name]);
    }
}

impl Volume {
    /// Where its content is on the host.
    pub fn path(self) -> PathBuf {
        match self {
            Self::Host => PathBuf::from("/w/volume"),
            Self::Named => Path::new(STORAGE).join("volumes/named/_data"),
            Self::RunSecrets => {
                let mut containers = fs::read_dir("/w/run/vfs-containers").unwrap();
                let container = containers.next().expect("a container").unwrap();
                container.path().join("userdata/run/secrets")
            }
        }
    }
}

/// What the process has counted to.
pub fn count() -> u64 {
    let text = fs::read_to_string(COUNT).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Waits until the process has counted on.
pub fn wait_beyond(before: u64) {
    host::wait_beyond(before, count);
}

/// What counts in CRIU's logs of the last restore.
pub fn log() -> String {
    telling_lines("restore.log")
}

/// The lines with errors, and those with premount's doings.
pub fn telling_lines(file: &str) -> String {
    let containers = fs::read_dir(Path::new(STORAGE).join("vfs-containers"));
    let containers = containers.into_iter().flatten();
    let log = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("userdata").join(file));
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
