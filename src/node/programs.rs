// SPDX-License-Identifier: Apache-2.0
//! The runtimes, the engines and CRIU on a node: where they are, of which version, and which of CRIU's
//! configuration files has a say when crun calls it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use memchr::memmem;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::Error;
use crate::node::engines::Engine;
use crate::node::files::Files;

/// Where programs are; CRI-O brings runtimes of its own.
const DIRECTORIES: [&str; 6] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/libexec/crio",
    "/usr/lib/cri-o-runc/sbin",
];
/// Where libraries are; on Debian in a directory of the architecture's below.
const LIBRARY_DIRECTORIES: [&str; 4] = [
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib64",
    "/usr/local/lib",
];
const LIBCRIU: &str = "libcriu.so.2";
/// How crun tells CRIU of a configuration file, since crun 1.26 and CRIU 4.2. Where the one doesn't call
/// it or the other doesn't have it, none is told of. Versions are no guide: distributions pick changes.
const SET_CONFIG_FILE: &[u8] = b"criu_set_config_file";
/// Most bytes of a program that is looked into.
const MAX_PROGRAM_SIZE: usize = 256 << 20;
/// How long a program may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program of the node's.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Where it is on the node.
    pub path: PathBuf,
    /// Its version, where the node is the system that premount runs on.
    pub version: Option<String>,
}

/// A runtime of the node's.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The program.
    pub program: Program,
    /// What it has CRIU read.
    pub reads: Reads,
}

/// Which of CRIU's configuration files count when a runtime calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The default one alone.
    Default,
    /// The default one and runc's.
    Runc,
    /// The default one and crun's, or runc's where there is none of crun's.
    Crun,
    /// None: it is built without CRIU.
    Nothing,
}

impl Runtime {
    /// Whether it tells CRIU of no file of its own.
    pub fn reads_default_alone(&self) -> bool {
        self.reads == Reads::Default
    }
}

/// All programs of a name, `more` beside the usual places.
pub fn find(files: &Files, name: &'static str, more: &[PathBuf]) -> Result<Vec<Program>, Error> {
    let usual = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name));
    let mut found: Vec<Program> = Vec::new();
    let mut seen = Vec::new();
    for path in usual.chain(more.iter().cloned()) {
        let host = match files.host_path(&path) {
            // Nobody can start it.
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

/// Asks a program for its version, if it is one of the system that premount runs on.
pub fn with_version(files: &Files, mut program: Program) -> Program {
    if files.are_here() {
        program.version = version_of(&program.path);
    }
    program
}

/// The runtimes of a node, also those that its engines were told of.
pub fn runtimes(files: &Files, engines: &[Engine]) -> Result<Vec<Runtime>, Error> {
    let mut found = Vec::new();
    for name in ["crun", "runc"] {
        let told = engines.iter().flat_map(|engine| engine.runtimes.iter());
        let more: Vec<PathBuf> = told
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

/// The libraries by which crun calls CRIU.
fn libcriu(files: &Files) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for directory in LIBRARY_DIRECTORIES.map(Path::new) {
        let below = files.list(directory)?.into_iter();
        let of_architectures = below.filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.contains("-linux-")
        });
        for directory in std::iter::once(directory.to_owned()).chain(of_architectures) {
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
                there => {
                    there?;
                    found.push(path);
                }
            }
        }
    }
    Ok(found)
}

/// What a program answers to `--version`: the first word with digits and dots.
fn version_of(program: &Path) -> Option<String> {
    // The one place where premount starts a program: by hand, for `premount status`, by its absolute path.
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
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        sleep(Duration::from_millis(2));
    }
    // What it has written is in the pipe. A child of its own may still hold that open.
    let mut pipe = child.stdout.take()?;
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
    let mut said = [0; 4096];
    let length = pipe.read(&mut said).ok()?;
    version_in(&String::from_utf8_lossy(said.get(..length)?))
}

fn version_in(said: &str) -> Option<String> {
    let bare = |word: &str| {
        word.trim_start_matches('v')
            .trim_end_matches(',')
            .to_owned()
    };
    said.split_whitespace()
        .map(bare)
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_each_program_says() {
        for (said, version) in [
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
            assert_eq!(version_in(said).as_deref(), Some(version));
        }
        assert_eq!(version_in("no version at all"), None);
    }
}
