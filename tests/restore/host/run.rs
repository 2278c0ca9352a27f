// SPDX-License-Identifier: Apache-2.0
//! The container's life: started, checkpointed, restored and deleted by its runtime.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;

use super::inspect::{mountpoints_of, unescaped};
use super::{BUNDLE, COUNT, CRIU_ROOT, Host, ID, IMAGES, Runtime, WORK, rootfs, tool};
use crate::enter::PREMOUNT;

impl Host {
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
        Self::assert_read(IMAGES);
        Ok(())
    }

    /// Asserts that a checkpoint is read as it is, without a word. Where packages are tested, premount may not be
    /// there yet.
    pub fn assert_read(checkpoint: &str) {
        if !Path::new(PREMOUNT).exists() {
            return;
        }
        let plan = Self::call_premount(&["plan", "--checkpoint", checkpoint]);
        assert_eq!(
            (plan.status, plan.stderr.as_str()),
            (0, ""),
            "{checkpoint}: {plan:?}"
        );
    }

    /// Restores the container; the error is what CRIU logged.
    pub fn restore(&self) -> Result<(), String> {
        let _ = fs::remove_file(Path::new(WORK).join("restore.log"));
        self.put_count();
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

    /// Puts the file of the count where it was at the checkpoint.
    pub fn put_count(&self) {
        let _ = fs::copy(COUNT, self.rootfs.join("count"));
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

    /// What premount makes of the log of the restore that has just failed: the code, and the place on the host. The
    /// error is an explanation that is none.
    pub fn explain() -> Result<(String, Option<String>), String> {
        let log = Path::new(WORK).join("restore.log");
        let arguments = ["explain", log.to_str().unwrap(), "--format", "json"];
        let ended = Self::call_premount(&arguments);
        let said: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        match text("code") {
            Some(code) if ended.status == 0 => Ok((code, text("host_path"))),
            _ => Err(format!("{ended:?}\n{}", self::log("restore.log"))),
        }
    }

    /// Whether the runtime has called CRIU in the restore that has just failed.
    pub fn has_restore_log() -> bool {
        fs::metadata(Path::new(WORK).join("restore.log")).is_ok_and(|log| log.len() > 0)
    }

    /// Calls premount by hand.
    pub fn call_premount(arguments: &[&str]) -> crate::common::Ended {
        crate::common::premount(arguments, b"", &[])
    }

    /// Waits until the process has counted beyond `before`.
    pub fn wait_for_count(before: u64) {
        wait_beyond(before, count);
    }

    /// The mountpoints of the running container, in its own view.
    pub fn mountpoints(&self) -> Vec<String> {
        mountpoints_of(&self.pid())
    }

    /// The process ID of the running container's first task.
    pub fn pid(&self) -> String {
        let output = Command::new(self.runtime.name())
            .args(["state", ID])
            .output()
            .unwrap();
        let state: Value = serde_json::from_slice(&output.stdout).unwrap();
        state["pid"].to_string()
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

/// Waits until a process has counted on from `before`, by what `count` says.
pub fn wait_beyond(before: u64, count: fn() -> u64) {
    let start = Instant::now();
    while count() <= before + 2 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the process does not count on"
        );
        thread::sleep(Duration::from_millis(10));
    }
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
