// SPDX-License-Identifier: Apache-2.0
//! The way into the roots that `make` builds, and what has to be cleared up outside of it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that tells the program which test it is to run, once inside.
pub const INSIDE: &str = "PREMOUNT_TEST_INSIDE";
/// The variable with the name that the test's cgroups begin with.
pub const CGROUP: &str = "PREMOUNT_TEST_CGROUP";
/// Where premount is, inside.
pub const PREMOUNT: &str = "/usr/libexec/oci/hooks.d/premount";
/// The variable that says how many times as much the tests with random input do.
pub const SOAK: &str = "PREMOUNT_SOAK";
/// How long one test may take, in seconds; as many times that as there is to do.
const TIMEOUT: u64 = 300;

/// How many times as much the tests with random input do: 1, or more in `make soak`.
pub fn soak() -> u64 {
    std::env::var(SOAK)
        .ok()
        .map_or(1, |times| times.parse().expect("a number"))
}

/// A root with runtimes and a CRIU of its own, made by `tests/root.sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// Debian 13: crun 1.21 hands CRIU no configuration file of its own.
    Debian13,
    /// Debian 13 with the runtimes and the CRIU of Debian sid: crun reads /etc/criu/crun.conf.
    Sid,
}

impl Root {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Debian13, Self::Sid];

    pub fn name(self) -> &'static str {
        match self {
            Self::Debian13 => "debian-13",
            Self::Sid => "debian-13-sid",
        }
    }

    fn path(self) -> PathBuf {
        let roots = std::env::var_os("PREMOUNT_TEST_ROOTS").map(PathBuf::from);
        let target = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/e2e");
        roots.unwrap_or_else(target).join(self.name())
    }
}

/// Why these tests can't run here; none if they can. A root that only has to be made is no reason:
/// then each of them fails, and says what to do.
pub fn why_not() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("they need root".to_owned());
    }
    None
}

/// Runs the test `name` inside `root`; the error is all that it said.
pub fn run(root: Root, name: &str) -> Result<(), String> {
    let premount = Path::new(env!("CARGO_BIN_EXE_premount"));
    // What a test has counted is worth a line.
    print!("{}", output(root, name, &[(premount, PREMOUNT)])?);
    Ok(())
}

/// Runs this program inside `root` with files of the host's put at their paths, and gives what it wrote;
/// `name` tells it what to do there.
pub fn output(root: Root, name: &str, files: &[(&Path, &str)]) -> Result<String, String> {
    let root = root.path();
    if !root.is_dir() {
        return Err(format!(
            "{} is not there: run `make test`, which makes it",
            root.display()
        ));
    }
    let me = std::env::current_exe().expect("this program's path");
    let cgroup = format!(
        "premount-test-{}-{:x}",
        std::process::id(),
        fingerprint(name)
    );
    let mut command = Command::new("timeout");
    command
        .arg("--kill-after=5")
        .arg((TIMEOUT * soak()).to_string())
        .args(["unshare", "--mount", "--pid", "--fork", "--kill-child"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/enter.sh"))
        .arg(&root);
    for (file, path) in files.iter().chain(&[(me.as_path(), "/test")]) {
        command.arg("-f").arg(format!("{}={path}", file.display()));
    }
    let output = command
        .arg("/test")
        .env(INSIDE, name)
        .env(CGROUP, &cgroup)
        .env(crate::common::BINARY, PREMOUNT)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("timeout and unshare");
    remove_cgroups(&cgroup);
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!(
        "{}\n{}",
        output.status,
        String::from_utf8_lossy(&said)
    ))
}

fn fingerprint(name: &str) -> u32 {
    name.bytes().fold(2_166_136_261, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(16_777_619)
    })
}

/// Removes the cgroups of a test from every hierarchy: the runtimes leave some, and CRIU more.
fn remove_cgroups(name: &str) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for mount in mounts.lines() {
        let mut fields = mount.split(' ').skip(1);
        if let (Some(at), Some("cgroup" | "cgroup2")) = (fields.next(), fields.next()) {
            for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(name) {
                    remove_cgroup(&entry.path());
                }
            }
        }
    }
}

fn remove_cgroup(at: &Path) {
    for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(at);
}
