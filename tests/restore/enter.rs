// SPDX-License-Identifier: Apache-2.0
//! The way into the roots that `make` builds, and what has to be cleared up outside of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{BINARY, soak};

/// The variable that tells the program which test it is to run, once inside.
pub const INSIDE: &str = "PREMOUNT_TEST_INSIDE";
/// The variable with the name that the test's cgroups begin with.
pub const CGROUP: &str = "PREMOUNT_TEST_CGROUP";
/// Where premount is, inside.
pub const PREMOUNT: &str = "/usr/libexec/oci/hooks.d/premount";
/// How long one test may take, in seconds; as many times that as there is to do.
const TIMEOUT: u64 = 300;

/// A root with runtimes and a CRIU of its own, made by `tests/root.sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// Debian 13: crun 1.21 hands CRIU no configuration file of its own.
    Debian13,
    /// Debian 13 with the runtimes and the CRIU of Debian sid: crun reads /etc/criu/crun.conf.
    Sid,
    /// Debian 13 with other shells than bash, and with lintian: for the packages.
    Checks,
}

impl Root {
    /// All that have runtimes to compare.
    pub const ALL: [Self; 2] = [Self::Debian13, Self::Sid];

    pub fn name(self) -> &'static str {
        match self {
            Self::Debian13 => "debian-13",
            Self::Sid => "debian-13-sid",
            Self::Checks => "debian-13-fish-lintian-zsh",
        }
    }

    fn path(self) -> PathBuf {
        let roots = std::env::var_os("PREMOUNT_TEST_ROOTS").map(PathBuf::from);
        let target = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/e2e");
        roots.unwrap_or_else(target).join(self.name())
    }
}

/// What is put into the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// premount itself, where hooks live.
    Premount,
    /// The packages, and no premount but what they install.
    Packages,
}

/// Why these tests can't run here; none if they can. A root that only has to be made is no reason:
/// then each of them fails, and says what to do.
pub fn why_not() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("they need root".to_owned());
    }
    None
}

/// Where the packages are, here and, by the same path from /, inside.
pub const PACKAGES: &str = "target/packages";
/// The same packages, of a next release; and what the rpm database of a Debian has to be told.
pub const NEXT_PACKAGES: &str = "target/packages-next";

/// HostFiles of the host's, and their paths inside.
type HostFiles = Vec<(PathBuf, String)>;

impl With {
    fn files(self) -> Result<HostFiles, String> {
        match self {
            Self::Premount => Ok(vec![(
                env!("CARGO_BIN_EXE_premount").into(),
                PREMOUNT.to_owned(),
            )]),
            Self::Packages => {
                let mut files = HostFiles::new();
                for directory in [PACKAGES, NEXT_PACKAGES, "packaging"] {
                    add_below(directory, &mut files)?;
                }
                Ok(files)
            }
        }
    }
}

/// Adds what is in `directory`, below this package's own, as `make packages` and `make test` left it.
fn add_below(directory: &str, files: &mut HostFiles) -> Result<(), String> {
    let missing = |error| format!("{directory}: {error}: run `make test`, which makes it");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    for entry in std::fs::read_dir(here).map_err(missing)? {
        let entry = entry.expect("an entry");
        let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("its type").is_dir() {
            add_below(&path, files)?;
        } else {
            files.push((entry.path(), format!("/{path}")));
        }
    }
    Ok(())
}

/// A command that runs inside `root` with files of the host's; its arguments are still to come.
fn command_with(root: Root, files: &[(PathBuf, String)]) -> Result<Command, String> {
    let root = root.path();
    if !root.is_dir() {
        return Err(format!(
            "{} is not there: run `make test`, which makes it",
            root.display()
        ));
    }
    let mut command = Command::new("timeout");
    command
        .arg("--kill-after=5")
        .arg((TIMEOUT * u64::from(soak())).to_string())
        .args(["unshare", "--mount", "--pid", "--fork", "--kill-child"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/enter.sh"))
        .arg(&root)
        .stdin(std::process::Stdio::null());
    for (file, path) in files {
        command.arg("-f").arg(format!("{}={path}", file.display()));
    }
    Ok(command)
}

/// A command that runs inside `root`; its arguments are still to come.
pub fn command(root: Root, with: With) -> Result<Command, String> {
    command_with(root, &with.files()?)
}

/// Runs the test `name` inside `root`; the error is all that it said.
pub fn run(root: Root, name: &str, with: With) -> Result<(), String> {
    // What a test has counted is worth a line.
    print!("{}", output(root, name, with.files()?)?);
    Ok(())
}

/// Runs this program inside `root` with files of the host's put at their paths, and gives what it wrote;
/// `name` tells it what to do there.
pub fn output(root: Root, name: &str, mut files: HostFiles) -> Result<String, String> {
    let me = std::env::current_exe().expect("this program's path");
    let cgroup = format!(
        "premount-test-{}-{:x}",
        std::process::id(),
        fingerprint(name)
    );
    files.push((me, "/test".to_owned()));
    let output = command_with(root, &files)?
        .arg("/test")
        .env(INSIDE, name)
        .env(CGROUP, &cgroup)
        .env(BINARY, PREMOUNT)
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
