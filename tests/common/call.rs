// SPDX-License-Identifier: Apache-2.0
//! premount, called as anyone calls it, and how the call ended.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

/// Runs a command with nothing on standard input.
pub fn output(command: &mut Command) -> Output {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped());
    output_of(piped.stderr(Stdio::piped()).spawn().unwrap())
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

/// Calls premount with a standard output that takes nothing.
pub fn to_full(arguments: &[&str]) -> Ended {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
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

/// Puts a copy of premount at `path`, for anyone to execute. By another process: a program that another test
/// starts meanwhile would hold open what this one writes, and that can't be executed then (ETXTBSY).
pub fn copy_binary(path: &Path) {
    let copied = Command::new("cp").arg(binary()).arg(path).status();
    assert!(copied.unwrap().success());
}
