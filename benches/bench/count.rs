// SPDX-License-Identifier: Apache-2.0
//! A call of a program, and its counted costs: system calls, instructions, peak memory.
#![allow(dead_code)] // Not every test binary uses all of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::World;
use crate::common::cost_input::CostInput;

/// A call of a program.
#[derive(Clone)]
pub struct Call {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    stdin: PathBuf,
}

impl Call {
    /// A program without arguments.
    pub fn of(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: "/dev/null".into(),
        }
    }

    /// An OCI hook as runc calls it on restore, installed by hooks.d/premount.json.
    pub fn hook(program: &Path, input: &CostInput) -> Self {
        Self::hook_in(program, &input.world)
    }

    /// The same with the state of a given world.
    pub fn hook_in(program: &Path, world: &World) -> Self {
        Self {
            arguments: vec!["hook".into()],
            stdin: world.path("state.json"),
            ..Self::of(program)
        }
    }

    /// CRIU's action script at a stage where premount has nothing to do.
    pub fn idle(program: &Path) -> Self {
        Self {
            environment: vec![("CRTOOLS_SCRIPT_ACTION", "post-restore".into())],
            ..Self::of(program)
        }
    }

    /// CRIU's action script before a restore by an engine that keeps the images beside the configuration.
    pub fn action(program: &Path, input: &CostInput) -> Self {
        Self {
            environment: vec![
                ("CRTOOLS_SCRIPT_ACTION", "pre-restore".into()),
                ("CRTOOLS_IMAGE_DIR", input.images().into()),
            ],
            ..Self::of(program)
        }
    }

    /// The command, with a clean environment except for PATH, and its output discarded.
    pub fn command(&self) -> Command {
        self.under(&self.program, &[])
    }

    /// The command run by another program, whose arguments come first.
    fn under(&self, program: impl Into<PathBuf>, before: &[OsString]) -> Command {
        let program = program.into();
        let mut command = Command::new(&program);
        command.args(before);
        if program != self.program {
            command.arg(&self.program);
        }
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", path)
            .envs(self.environment.iter().cloned())
            .stdin(File::open(&self.stdin).expect("the standard input"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs it once. Panics if it fails.
    pub fn run(&self) {
        let status = self.command().status().expect("a program");
        assert!(status.success(), "{}: {status}", self.program.display());
    }
}

/// The number of system calls of a program and its children, from execve to exit.
pub fn system_calls(call: &Call) -> Result<u64, String> {
    let lines = trace(call)?;
    // A call interrupted by another process has two lines; signals and exits are not calls.
    let is_call = |line: &&String| {
        let event = line.split_once(' ').map_or("", |(_, event)| event).trim();
        !event.starts_with(['+', '-', '<'])
    };
    Ok(lines.iter().filter(is_call).count() as u64)
}

/// The output lines of strace, each with its process ID.
pub fn trace(call: &Call) -> Result<Vec<String>, String> {
    let (_directory, file) = output_file();
    let before = ["-f".into(), "-qq".into(), "-o".into(), file.clone().into()];
    succeed(call.under("strace", &before))?;
    let text = fs::read(&file).expect("strace's output");
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().map(str::to_owned).collect())
}

/// The number of instructions of a program, without its children's.
pub fn instructions(call: &Call) -> Result<u64, String> {
    let (_directory, file) = output_file();
    callgrind(call, &file)?;
    let text = fs::read_to_string(&file).expect("callgrind's output");
    text.lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .and_then(|total| total.trim().parse().ok())
        .ok_or_else(|| format!("no totals by callgrind: {text}"))
}

/// Writes callgrind's profile to a file.
pub fn callgrind(call: &Call, file: &Path) -> Result<(), String> {
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(file);
    succeed(call.under("valgrind", &["--tool=callgrind".into(), out]))
}

/// The peak memory of a program's largest process in KiB, as measured by the program `peak`.
pub fn peak_memory(peak: &Path, call: &Call) -> Result<u64, String> {
    let (_directory, file) = output_file();
    succeed(call.under(peak, &[file.clone().into()]))?;
    let text = fs::read_to_string(&file).expect("the peak");
    text.trim().parse().map_err(|_| format!("no peak: {text}"))
}

fn output_file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("output");
    (directory, file)
}

fn succeed(mut command: Command) -> Result<(), String> {
    let output = command
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("{}: {error}", Path::new(command.get_program()).display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}\n{said}", output.status));
    }
    Ok(())
}
