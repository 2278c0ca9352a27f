// SPDX-License-Identifier: Apache-2.0
//! A host with one container on it: its bundle, its sources, its runtime, and how premount is told
//! of a restore. Inside the root all of it is for the taking, under `/w`.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::{Value, json};

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
pub struct World {
    pub runtime: Runtime,
    root: Root,
    rootfs: PathBuf,
    mounts: Vec<Value>,
    /// What the process does before it counts.
    script: String,
    masked: Vec<String>,
}

impl World {
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
        let all = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_MKNOD", "CAP_KILL"];
        let cgroup = std::env::var(CGROUP).expect("the cgroup's name");
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/sh", "-c", count],
                "env": ["PATH=/bin"],
                "cwd": "/",
                // A workload that mounts.
                "capabilities": {"bounding": all, "effective": all, "permitted": all},
            },
            "root": {"path": self.rootfs},
            "mounts": mounts,
            "linux": {
                "cgroupsPath": format!("/{cgroup}"),
                "maskedPaths": self.masked,
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"},
                               {"type": "uts"}],
            },
        });
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
            format!("manage-cgroups=ignore\n{script}"),
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
            (Runtime::Crun, Root::Debian13) => "/etc/criu/default.conf",
        }
    }

    /// Starts the container, and waits until it counts.
    pub fn start(&self) {
        self.run().expect("start");
        Self::wait_for_count(0);
    }

    /// Starts the container.
    pub fn run(&self) -> Result<(), String> {
        self.command(&["run", "--detach", "--bundle", BUNDLE, ID])
    }

    /// Makes the container, with all its mounts, without running its process.
    pub fn create(&self) -> Result<(), String> {
        self.command(&["create", "--bundle", BUNDLE, ID])
    }

    /// Whether the container runs: one that is over-mounted everywhere has no program.
    pub fn counts(&self) -> bool {
        thread::sleep(Duration::from_millis(60));
        let output = Command::new(self.runtime.name())
            .args(["state", ID])
            .output()
            .unwrap();
        let state: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        state["status"] == "running"
    }

    /// Checkpoints the container, which ends it. Gives how far it had counted.
    pub fn checkpoint(&self) -> u64 {
        self.try_checkpoint()
            .unwrap_or_else(|said| panic!("checkpoint: {said}"));
        Self::unmount_below(&rootfs());
        count()
    }

    /// Checkpoints the container, if CRIU can.
    pub fn try_checkpoint(&self) -> Result<(), String> {
        let _ = fs::remove_dir_all(IMAGES);
        fs::create_dir_all(IMAGES).unwrap();
        let checkpoint = ["checkpoint", "--image-path", IMAGES, "--work-path", WORK];
        self.command(&[&checkpoint[..], self.without_cgroups(), &[ID]].concat())
            .map_err(|said| format!("{said}\n{}", log("dump.log")))?;
        // The process can have had its file open: CRIU wants it as it was then.
        let _ = fs::remove_file(COUNT);
        let _ = fs::copy(self.rootfs.join("count"), COUNT);
        Ok(())
    }

    /// Restores the container; the error is what CRIU logged.
    pub fn restore(&self) -> Result<(), String> {
        let _ = fs::remove_file(Path::new(WORK).join("restore.log"));
        let _ = fs::copy(COUNT, self.rootfs.join("count"));
        let restore = [
            "restore",
            "--detach",
            "--image-path",
            IMAGES,
            "--work-path",
            WORK,
        ];
        self.command(
            &[
                &restore[..],
                self.without_cgroups(),
                &["--bundle", BUNDLE, ID],
            ]
            .concat(),
        )
        .map_err(|said| format!("{said}\n{}", log("restore.log")))
    }

    /// What the runtime says to CRIU of cgroups counts for more than /etc/criu/default.conf; runc
    /// 1.1 has no word for it, but its own file.
    fn without_cgroups(&self) -> &'static [&'static str] {
        match self.runtime {
            Runtime::Runc => &[],
            Runtime::Crun => &["--manage-cgroups-mode", "ignore"],
        }
    }

    /// Lets premount make the mountpoints as it is called by hand, for the checkpoint that is there.
    pub fn apply() {
        let ended = Self::call_premount(&["apply", "--bundle", BUNDLE, "--images", IMAGES]);
        assert_eq!(ended.status, 0, "{}", ended.stderr);
    }

    /// Calls premount by hand.
    pub fn call_premount(arguments: &[&str]) -> crate::common::Ended {
        crate::common::premount(arguments, b"", &[])
    }

    /// Waits until the process has counted beyond `before`.
    pub fn wait_for_count(before: u64) {
        let start = Instant::now();
        while count() <= before + 2 {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the process does not count on"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The mountpoints of the running container, in its own view.
    pub fn mountpoints(&self) -> Vec<String> {
        let output = Command::new(self.runtime.name())
            .args(["state", ID])
            .output()
            .unwrap();
        let state: Value = serde_json::from_slice(&output.stdout).unwrap();
        mountpoints_of(&state["pid"].to_string())
    }

    /// Ends the container, if there is one.
    pub fn delete(&self) {
        let _ = self.command(&["delete", "--force", ID]);
        Self::unmount_below(&rootfs());
        // A restore of crun's that fails leaves this behind at times.
        let _ = Command::new("umount")
            .args(["--lazy", "--quiet", CRIU_ROOT])
            .output();
        let _ = fs::remove_dir(CRIU_ROOT);
    }

    /// runc mounts the binds in the rootfs to make mountpoints, and then unmounts them by their
    /// paths: one that another covers stays.
    pub fn unmount_below(directory: &Path) {
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let mountpoints = table
            .lines()
            .map(|line| unescaped(line.split(' ').nth(1).unwrap()));
        let left = mountpoints.filter(|at| Path::new(at).starts_with(directory));
        for mountpoint in left.collect::<Vec<String>>().iter().rev() {
            tool("umount", &["--lazy", mountpoint]);
        }
    }

    /// Runs the runtime. Containers outlive it, so its standard streams are /dev/null, which is
    /// also what CRIU can restore; messages go to a log.
    fn command(&self, arguments: &[&str]) -> Result<(), String> {
        let _ = fs::remove_file("/w/runtime.log");
        let status = Command::new(self.runtime.name())
            .args(["--log", "/w/runtime.log"])
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string("/w/runtime.log").unwrap_or_default();
        Err(format!(
            "{} {arguments:?}: {status}: {said}",
            self.runtime.name()
        ))
    }
}

/// The rootfs.
pub fn rootfs() -> PathBuf {
    Path::new(BUNDLE).join("rootfs")
}

/// The mountpoints that a process sees.
pub fn mountpoints_of(pid: &str) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let mountpoint = |line: &str| unescaped(line.split(' ').nth(4).unwrap());
    let mut mountpoints: Vec<String> = table.lines().map(mountpoint).collect();
    mountpoints.sort();
    mountpoints
}

fn count() -> u64 {
    let text = fs::read_to_string(rootfs().join("count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// The lines of a log of CRIU's in which it is anything but content.
fn log(name: &str) -> String {
    let text = fs::read_to_string(Path::new(WORK).join(name)).unwrap_or_default();
    let telling = |line: &&str| {
        line.contains("Error") || line.contains("premount") || line.contains("script")
    };
    text.lines().filter(telling).collect::<Vec<_>>().join("\n")
}

/// mountinfo writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(3);
        plain.push(char::from(u8::from_str_radix(digits, 8).unwrap()));
        plain.push_str(rest);
    }
    plain
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

/// An inode, as far as a test compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The content of a file.
    pub content: Option<Vec<u8>>,
    /// The time of its last change; none for a directory, which changes with what is made in it.
    pub changed: Option<(i64, i64)>,
}

/// All that is in a source, without what is mounted on it.
pub fn snapshot(source: &Path) -> BTreeMap<PathBuf, Inode> {
    let mut inodes = BTreeMap::new();
    if source.is_file() {
        return inodes;
    }
    let view = Path::new("/w/view");
    fs::create_dir_all(view).unwrap();
    tool(
        "mount",
        &["--bind", source.to_str().unwrap(), view.to_str().unwrap()],
    );
    collect(view, view, &mut inodes);
    tool("umount", &[view.to_str().unwrap()]);
    inodes
}

fn collect(top: &Path, directory: &Path, inodes: &mut BTreeMap<PathBuf, Inode>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let is_file = metadata.is_file();
        let inode = Inode {
            mode: metadata.permissions().mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            content: is_file.then(|| fs::read(&path).unwrap()),
            changed: is_file.then(|| (metadata.ctime(), metadata.ctime_nsec())),
        };
        inodes.insert(path.strip_prefix(top).unwrap().to_owned(), inode);
        if metadata.is_dir() {
            collect(top, &path, inodes);
        }
    }
}
