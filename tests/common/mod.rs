// SPDX-License-Identifier: Apache-2.0
//! A bundle in a temporary directory, and premount called on it as anyone calls it.
#![allow(dead_code)] // Not every test uses all of it.
#![allow(clippy::indexing_slicing)]

pub mod archive;
pub mod corpus;
pub mod image;
pub mod inputs;
pub mod node;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// What premount said, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The variable with another path for premount than cargo's own, where that isn't to be had.
pub const BINARY: &str = "PREMOUNT_TEST_BINARY";

/// Where premount is.
pub fn binary() -> PathBuf {
    std::env::var_os(BINARY).map_or_else(|| env!("CARGO_BIN_EXE_premount").into(), PathBuf::from)
}

/// More than any call takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a call to end, and kills it where it doesn't: what waits for ever fails its test, and is no
/// test that hangs.
pub fn output_of(child: Child) -> Output {
    output_within(PATIENCE, child, b"")
}

/// The same with another patience, and something on standard input.
pub fn output_within(patience: Duration, mut child: Child, stdin: &[u8]) -> Output {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (stdin, (done, end)) = (stdin.to_vec(), mpsc::channel());
    thread::spawn(move || {
        if let Some(mut pipe) = child.stdin.take() {
            // premount may have ended before it read all of it.
            let _ = pipe.write_all(&stdin);
        }
        let _ = done.send(child.wait_with_output());
    });
    let Ok(output) = end.recv_timeout(patience) else {
        let _ = kill(pid, Signal::SIGKILL);
        panic!("it has not ended within {patience:?}");
    };
    output.unwrap()
}

/// Calls premount with nothing of the caller's environment.
pub fn premount(arguments: &[&str], stdin: &[u8], environment: &[(&str, &str)]) -> Ended {
    let child = Command::new(binary())
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ended(&output_within(PATIENCE, child, stdin))
}

/// How a call ended, in text.
pub fn ended(output: &Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ended {
        status: output.status.code().expect("an exit status"),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// How CRIU calls its scripts. A stand-in for the runtime and for CRIU: what premount looks for in them
/// is their command lines, which a shell can have too, and their current directories.
pub struct AsCriu {
    /// The current directory of the runtime.
    pub runtime: PathBuf,
    /// The arguments of the runtime, from its name on.
    pub runtime_arguments: Vec<String>,
    /// The first argument of CRIU.
    pub word: &'static str,
    /// `CRTOOLS_SCRIPT_ACTION`.
    pub stage: String,
    /// `CRTOOLS_IMAGE_DIR`.
    pub images: PathBuf,
    /// What to call premount by.
    pub before: Vec<String>,
    /// premount.
    pub program: PathBuf,
    /// A directory for the scripts.
    pub scripts: PathBuf,
}

impl AsCriu {
    /// For a runtime that restores what `world` has the bundle of.
    pub fn restores(world: &World) -> Self {
        Self {
            runtime: world.path("bundle"),
            runtime_arguments: vec!["runc".into(), "restore".into(), "c1".into()],
            word: "swrk",
            stage: "pre-restore".to_owned(),
            images: world.path("bundle/checkpoint"),
            before: Vec::new(),
            program: binary(),
            scripts: world.path("criu"),
        }
    }

    /// Calls premount from there.
    pub fn call(&self, arguments: &[&str]) -> Ended {
        ended(&output_of(self.command(arguments).spawn().unwrap()))
    }

    /// The command that calls it. The runtime is a shell that starts another, which is CRIU: `sh WORD 3`,
    /// with the script WORD in its current directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        fs::create_dir_all(&self.scripts).unwrap();
        for (name, text) in [
            (
                "runtime",
                "env -C \"$SCRIPTS\" sh \"$WORD\" 3 \"$@\"\nexit $?\n",
            ),
            (
                self.word,
                "shift\n[ ! -d \"$CRTOOLS_IMAGE_DIR\" ] || {\n\
                 exec 9<\"$CRTOOLS_IMAGE_DIR\"\nexport CRTOOLS_IMAGE_DIR=/proc/$$/fd/9\n}\n\
                 \"$@\"\nexit $?\n",
            ),
        ] {
            fs::write(self.scripts.join(name), text).unwrap();
        }
        // The script calls what comes behind the runtime's own arguments.
        let shifts = "shift;".repeat(self.runtime_arguments.len() - 1);
        let start = format!("{shifts} . \"$SCRIPTS/runtime\"");
        let mut command = Command::new("sh");
        std::os::unix::process::CommandExt::arg0(&mut command, &self.runtime_arguments[0]);
        command
            .args(["-c", &start, "sh"])
            .args(&self.runtime_arguments[1..])
            .args(&self.before)
            .arg(&self.program)
            .args(arguments)
            .current_dir(&self.runtime)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("SCRIPTS", &self.scripts)
            .env("WORD", self.word)
            .env("CRTOOLS_SCRIPT_ACTION", &self.stage)
            .env("CRTOOLS_IMAGE_DIR", &self.images)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Calls premount with a standard output that takes nothing.
pub fn to_full(arguments: &[&str]) -> Ended {
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let child = Command::new(binary())
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(full.unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ended(&output_of(child))
}

/// A bundle with a rootfs, and a directory for sources.
pub struct World {
    directory: tempfile::TempDir,
    mounts: Vec<Value>,
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            mounts: Vec::new(),
        };
        world.directory("bundle/rootfs");
        world.write_config(&world.config());
        world
    }

    /// A path in this world.
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub fn directory(&self, path: &str) -> PathBuf {
        fs::create_dir_all(self.path(path)).unwrap();
        self.path(path)
    }

    pub fn file(&self, path: &str) -> PathBuf {
        fs::write(self.path(path), "content").unwrap();
        self.path(path)
    }

    pub fn link(&self, path: &str, text: &str) {
        std::os::unix::fs::symlink(text, self.path(path)).unwrap();
    }

    /// Binds a path of this world, after what is mounted already.
    pub fn bind(&mut self, source: &str, destination: &str) {
        let source = self.path(source);
        self.mount(json!({"destination": destination, "source": source, "options": ["rbind"]}));
    }

    pub fn tmpfs(&mut self, destination: &str) {
        self.mount(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}));
    }

    pub fn mount(&mut self, mount: Value) {
        self.mounts.push(mount);
        self.write_config(&self.config());
    }

    pub fn config(&self) -> Value {
        json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": self.mounts})
    }

    pub fn write_config(&self, config: &Value) {
        fs::write(self.path("bundle/config.json"), config.to_string()).unwrap();
    }

    pub fn bundle(&self) -> String {
        self.path("bundle").to_str().unwrap().to_owned()
    }

    /// Calls `plan`, `apply` or `check` on the bundle.
    pub fn premount(&self, command: &str) -> Ended {
        premount(&[command, "--bundle", &self.bundle()], b"", &[])
    }

    pub fn json(&self, command: &str) -> Value {
        let bundle = self.bundle();
        let ended = premount(
            &[command, "--bundle", &bundle, "--format", "json"],
            b"",
            &[],
        );
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// The state JSON of a restore, with the annotation.
    pub fn state(&self) -> String {
        let annotations = json!({"io.premount.restore": "true"});
        json!({"ociVersion": "1.0.2", "id": "a", "status": "stopped", "pid": 1,
               "bundle": self.bundle(), "annotations": annotations})
        .to_string()
    }

    /// Everything below a path of this world: `d`, `f` or `l`, and the path.
    pub fn tree(&self, path: &str) -> Vec<String> {
        let mut found = Vec::new();
        collect(&self.path(path), &self.path(path), &mut found);
        found.sort();
        found
    }

    /// Everything in this world, by what would change if anybody changed it.
    pub fn state_of_all(&self) -> BTreeMap<PathBuf, (u32, u32, u64, i64, i64)> {
        let mut all = BTreeMap::new();
        note(self.directory.path(), &mut all);
        all
    }
}

fn note(path: &Path, all: &mut BTreeMap<PathBuf, (u32, u32, u64, i64, i64)>) {
    let found = fs::symlink_metadata(path).unwrap();
    let inode = (
        found.mode(),
        found.uid(),
        found.size(),
        found.ctime(),
        found.ctime_nsec(),
    );
    all.insert(path.to_owned(), inode);
    if found.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten() {
            note(&entry.unwrap().path(), all);
        }
    }
}

fn collect(top: &Path, directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let letter = if kind.is_dir() {
            'd'
        } else if kind.is_symlink() {
            'l'
        } else {
            'f'
        };
        found.push(format!(
            "{letter} {}",
            path.strip_prefix(top).unwrap().display()
        ));
        if kind.is_dir() {
            collect(top, &path, found);
        }
    }
}
