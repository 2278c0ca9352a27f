// SPDX-License-Identifier: Apache-2.0
//! A host with one container on it: its bundle, its sources, its runtime, and how premount is told
//! of a restore. Inside the root all of it is for the taking, under `/w`.

mod inspect;
mod run;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

pub use inspect::{InodeSnapshot, mountpoints_of, snapshot};
pub use run::wait_beyond;

use crate::enter::{CGROUP, PREMOUNT, Root};

/// The bundle.
pub const BUNDLE: &str = "/w/bundle";
/// The directory of the sources.
pub const SOURCES: &str = "/w/sources";
pub const IMAGES: &str = "/w/images";
const WORK: &str = "/w/criu";
/// What the container had counted to when it was checkpointed.
const COUNT: &str = "/w/counted";
const CRIU_ROOT: &str = "/w/bundle/criu-root";
const ID: &str = "c1";

/// A container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    Runc,
    Crun,
}

impl Runtime {
    pub fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
        }
    }
}

impl Runtime {
    /// The triggers that work with it: crun runs no hook on restore.
    pub fn triggers(self) -> &'static [Trigger] {
        match self {
            Self::Runc => &[Trigger::Hook, Trigger::Action, Trigger::Hand],
            Self::Crun => &[Trigger::Action, Trigger::Hand],
        }
    }
}

/// How premount comes to run on a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Not at all.
    None,
    /// As an OCI hook of the container.
    Hook,
    /// As CRIU's action script.
    Action,
    /// By hand, before the restore.
    Hand,
}

impl Trigger {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "without",
            Self::Hook => "hook",
            Self::Action => "action",
            Self::Hand => "hand",
        }
    }
}

/// A host with a container.
pub struct Host {
    pub runtime: Runtime,
    root: Root,
    rootfs: PathBuf,
    mounts: Vec<Value>,
    /// What the process does before it counts.
    script: String,
    masked: Vec<String>,
    cwd: String,
    /// The first ID of its user namespace on the host; 0 without one.
    first_id: u32,
    /// Whether the rootfs is read-only.
    is_read_only: bool,
    /// More lines of CRIU's configuration.
    options: String,
    /// `linux.readonlyPaths`.
    readonly_paths: Vec<String>,
}

impl Host {
    /// A bundle whose process counts, in the file `/count` of its rootfs.
    pub fn new(root: Root, runtime: Runtime) -> Self {
        for directory in [BUNDLE, SOURCES, IMAGES, WORK, "/etc/criu"] {
            fs::create_dir_all(directory).unwrap();
        }
        Self::add_programs(&rootfs());
        Self {
            rootfs: rootfs(),
            runtime,
            root,
            mounts: Vec::new(),
            script: String::new(),
            masked: Vec::new(),
            cwd: "/".to_owned(),
            first_id: 0,
            is_read_only: false,
            options: String::new(),
            readonly_paths: Vec::new(),
        }
    }

    /// Puts the programs of the container into a rootfs.
    pub fn add_programs(rootfs: &Path) {
        let bin = rootfs.join("bin");
        fs::create_dir_all(&bin).unwrap();
        if fs::symlink_metadata(bin.join("busybox")).is_ok() {
            return;
        }
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in [
            "sh", "sleep", "echo", "mount", "mkdir", "touch", "unshare", "umount", "rmdir",
        ] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
    }

    /// Takes another rootfs than the bundle's own.
    pub fn set_rootfs(&mut self, rootfs: &Path) {
        rootfs.clone_into(&mut self.rootfs);
    }

    /// The mounts of the configuration, after /proc and /dev.
    pub fn set_mounts(&mut self, mounts: Vec<Value>) {
        self.mounts = mounts;
    }

    /// Lets the process run a shell script before it counts.
    pub fn set_script(&mut self, script: &str) {
        script.clone_into(&mut self.script);
    }

    /// Masks paths of the container's.
    pub fn set_masked(&mut self, paths: &[&str]) {
        self.masked = paths.iter().map(|&path| path.to_owned()).collect();
    }

    /// Makes the rootfs read-only. The count needs a mount of its own then.
    pub fn set_read_only(&mut self) {
        self.is_read_only = true;
    }

    /// Adds to CRIU's configuration as it will be written.
    pub fn set_options(&mut self, lines: &str) {
        lines.clone_into(&mut self.options);
    }

    /// Makes paths of the container's read-only.
    pub fn set_readonly_paths(&mut self, paths: &[&str]) {
        self.readonly_paths = paths.iter().map(|&path| path.to_owned()).collect();
    }

    /// The working directory of the process.
    pub fn set_cwd(&mut self, cwd: &str) {
        cwd.clone_into(&mut self.cwd);
    }

    /// Has the container in a user namespace whose IDs begin with this one on the host; the rootfs becomes its
    /// root's.
    pub fn set_user_namespace(&mut self, first: u32) {
        self.first_id = first;
        let owner = format!("{first}:{first}");
        tool("chown", &["-R", &owner, self.rootfs.to_str().unwrap()]);
        // The namespace's root has to get there.
        fs::set_permissions("/w", std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Writes the configuration and the runtime's CRIU configuration for a trigger.
    pub fn write_config(&self, trigger: Trigger) {
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                   "options": ["nosuid", "mode=755"]}),
        ];
        mounts.extend(self.mounts.iter().cloned());
        let count = "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done";
        let count = format!("set -e\n{}\n{count}", self.script);
        let all = [
            "CAP_SYS_ADMIN",
            "CAP_DAC_OVERRIDE",
            "CAP_MKNOD",
            "CAP_KILL",
            "CAP_SETUID",
            "CAP_SETGID",
            "CAP_SYS_CHROOT",
        ];
        let cgroup = std::env::var(CGROUP).expect("the cgroup's name");
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/sh", "-c", count],
                "env": ["PATH=/bin"],
                "cwd": self.cwd,
                // A workload that mounts, and becomes another user.
                "capabilities": {"bounding": all, "effective": all, "permitted": all},
            },
            "root": {"path": self.rootfs, "readonly": self.is_read_only},
            "mounts": mounts,
            "linux": {
                "cgroupsPath": format!("/{cgroup}"),
                "maskedPaths": self.masked,
                "readonlyPaths": self.readonly_paths,
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"},
                               {"type": "uts"}],
            },
        });
        if self.first_id > 0 {
            let map = json!([{"containerID": 0, "hostID": self.first_id, "size": 65536}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.push(json!({"type": "user"}));
        }
        if trigger == Trigger::Hook {
            config["annotations"] = json!({"io.premount.restore": "true"});
            config["hooks"] = json!({"createRuntime": [
                {"path": PREMOUNT, "args": ["premount", "hook"], "timeout": 10}
            ]});
        }
        fs::write(Path::new(BUNDLE).join("config.json"), config.to_string()).unwrap();
        let script = match trigger {
            Trigger::Action => format!("action-script {PREMOUNT}\n"),
            Trigger::None | Trigger::Hook | Trigger::Hand => String::new(),
        };
        fs::write(
            self.criu_config(),
            format!("manage-cgroups=ignore\n{}{script}", self.options),
        )
        .unwrap();
    }

    /// Adds to the CRIU configuration that is there.
    pub fn add_criu_config(&self, line: &str) {
        let config = fs::read_to_string(self.criu_config()).unwrap();
        fs::write(self.criu_config(), config + line).unwrap();
    }

    /// The file that CRIU reads when this runtime calls it. crun names one from 1.26 on, with CRIU
    /// from 4.2 on; before that there is only the one that CRIU reads whoever calls.
    pub fn criu_config(&self) -> &'static str {
        match (self.runtime, self.root) {
            (Runtime::Runc, _) => "/etc/criu/runc.conf",
            (Runtime::Crun, Root::Sid) => "/etc/criu/crun.conf",
            (Runtime::Crun, Root::Debian13 | Root::Checks) => "/etc/criu/default.conf",
        }
    }
}

/// The rootfs.
pub fn rootfs() -> PathBuf {
    Path::new(BUNDLE).join("rootfs")
}

/// Runs a tool of the system's.
pub fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
