// SPDX-License-Identifier: Apache-2.0
//! Finds the runtimes and CRIU on a node, their versions, and the configuration files that CRIU reads for
//! each runtime.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use memchr::memmem;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::Error;
use crate::node::files::Files;

/// Where programs are. CRI-O's packages bring their own runtimes; where /usr is read-only, programs are in /opt.
const DIRECTORIES: [&str; 7] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/libexec/crio",
    "/usr/lib/cri-o-runc/sbin",
    "/opt/bin",
];
/// Where libraries are; on Debian, in a subdirectory for the architecture.
const LIBRARY_DIRECTORIES: [&str; 4] = [
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib64",
    "/usr/local/lib",
];
const LIBCRIU: &str = "libcriu.so.2";
/// The libcriu function by which crun 1.26 and later pass a configuration file to CRIU 4.2 and later. If crun
/// does not call it, or libcriu does not have it, CRIU gets none. Look for the function rather than at the
/// versions, because distributions backport changes.
const SET_CONFIG_FILE: &[u8] = b"criu_set_config_file";
/// Maximum size of a program or library to search, in bytes.
const MAX_PROGRAM_SIZE: usize = 256 << 20;
/// How long a program may take to print its version.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A program on the node.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its path on the node.
    pub path: PathBuf,
    /// Its version; known only if the node is the running system.
    pub version: Option<String>,
}

/// A runtime on the node.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The program.
    pub program: Program,
    /// The configuration files that CRIU reads for it.
    pub reads: Reads,
}

/// The configuration files that CRIU reads when a runtime calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Only default.conf.
    Default,
    /// default.conf and runc.conf.
    Runc,
    /// default.conf, and crun.conf or, if that does not exist, runc.conf.
    Crun,
    /// None: the runtime is built without CRIU.
    Nothing,
}

impl Runtime {
    /// Whether CRIU reads only default.conf for it.
    pub fn reads_only_default(&self) -> bool {
        self.reads == Reads::Default
    }
}

/// Finds all programs of a name, in the standard directories and at the paths in `more`.
///
/// # Errors
///
/// The node's files cannot be read.
pub fn find(files: &Files, name: &'static str, more: &[PathBuf]) -> Result<Vec<Program>, Error> {
    let usual = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name));
    let mut found: Vec<Program> = Vec::new();
    let mut seen = Vec::new();
    for path in usual.chain(more.iter().cloned()) {
        let host = match files.host_path(&path) {
            // A symlink loop: no program that anyone could start.
            Err(Error::Unreadable {
                errno: Errno::ELOOP,
                ..
            }) => continue,
            host => host?,
        };
        let is_there = files.find(&path)?.is_some_and(|found| found.is_executable);
        if is_there && !seen.contains(&host) {
            seen.push(host);
            found.push(Program {
                name,
                path,
                version: None,
            });
        }
    }
    Ok(found)
}

/// Asks a program for its version, if the node is the running system.
pub fn with_version(files: &Files, mut program: Program) -> Program {
    if files.are_running_system() {
        program.version = version_of(&program.path);
    }
    program
}

/// Finds the runtimes on a node, including those in its engines' configuration.
///
/// # Errors
///
/// The node's files cannot be read.
pub fn runtimes(files: &Files, of_engines: &[PathBuf]) -> Result<Vec<Runtime>, Error> {
    let mut found = Vec::new();
    for name in ["crun", "runc"] {
        let more: Vec<PathBuf> = of_engines
            .iter()
            .filter(|path| path.file_name().is_some_and(|it| it == name))
            .cloned()
            .collect();
        for program in find(files, name, &more)? {
            let reads = match name {
                "crun" => reads_of_crun(files, &program.path)?,
                _ => Reads::Runc,
            };
            found.push(Runtime { program, reads });
        }
    }
    Ok(found)
}

fn reads_of_crun(files: &Files, crun: &Path) -> Result<Reads, Error> {
    let content = files.read(crun, MAX_PROGRAM_SIZE)?.unwrap_or_default();
    let names = |content: &[u8], wanted: &[u8]| memmem::find(content, wanted).is_some();
    if !names(&content, b"libcriu") {
        return Ok(Reads::Nothing);
    }
    if !names(&content, SET_CONFIG_FILE) {
        return Ok(Reads::Default);
    }
    for library in libcriu(files)? {
        let content = files.read(&library, MAX_PROGRAM_SIZE)?.unwrap_or_default();
        if !names(&content, SET_CONFIG_FILE) {
            return Ok(Reads::Default);
        }
    }
    Ok(Reads::Crun)
}

/// Finds libcriu, through which crun calls CRIU.
fn libcriu(files: &Files) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for directory in LIBRARY_DIRECTORIES.map(Path::new) {
        let below = files.list(directory)?.into_iter();
        let architectures = below.filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.contains("-linux-")
        });
        for directory in std::iter::once(directory.to_owned()).chain(architectures) {
            let path = directory.join(LIBCRIU);
            let is_loop = |error: &Error| {
                matches!(
                    error,
                    Error::Unreadable {
                        errno: Errno::ELOOP,
                        ..
                    }
                )
            };
            match files.find(&path) {
                Ok(None) => {}
                Err(error) if is_loop(&error) => {}
                found_it => {
                    found_it?;
                    found.push(path);
                }
            }
        }
    }
    Ok(found)
}

/// The version that a program prints for `--version`: the first word that starts with a digit and has a dot.
fn version_of(program: &Path) -> Option<String> {
    // The only program that premount ever starts: only for `premount status`, and by its absolute path.
    #[allow(clippy::disallowed_methods)]
    let mut child = Command::new(program)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let start = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if start.elapsed() > TIMEOUT {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        sleep(Duration::from_millis(2));
    }
    // Its output is in the pipe. A child of its own may still hold the pipe open, so do not wait for its end.
    let mut pipe = child.stdout.take()?;
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
    let mut output = [0; 4096];
    let length = pipe.read(&mut output).ok()?;
    version_in(&String::from_utf8_lossy(output.get(..length)?))
}

fn version_in(output: &str) -> Option<String> {
    let bare = |word: &str| {
        word.trim_start_matches('v')
            .trim_end_matches(',')
            .to_owned()
    };
    output
        .split_whitespace()
        .map(bare)
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_each_programs_output() {
        for (output, version) in [
            ("crun version 1.28\ncommit: 1\nrundir: /run/crun\n", "1.28"),
            (
                "runc version 1.1.15+ds1\ncommit: x\nspec: 1.0.2-dev\n",
                "1.1.15+ds1",
            ),
            ("Version: 4.2.1\nGitID: v4.2.1\n", "4.2.1"),
            ("podman version 5.4.2\n", "5.4.2"),
            ("crio version 1.36.3\n", "1.36.3"),
            (
                "containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6\n",
                "1.7.24~ds1",
            ),
            ("tool v2.1.9, build 7", "2.1.9"),
        ] {
            assert_eq!(version_in(output).as_deref(), Some(version));
        }
        assert_eq!(version_in("no version at all"), None);
    }
}
