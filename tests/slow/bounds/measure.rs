// SPDX-License-Identifier: Apache-2.0
//! How memory and time are measured: premount is called by a program that says how much memory it took.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::{self, AsCriu, Ended, World};

/// Most memory, in KiB.
const MEMORY: u64 = 64 << 10;
/// Most time. A debug build takes ten times as long as premount.
const TIME: Duration = Duration::from_secs(20);

/// A program that says how much memory another took.
fn peak() -> &'static Path {
    static PEAK: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PEAK.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peak");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline/peak.c");
        let mut cc = Command::new("cc");
        let built = cc.args(["-O2", "-o"]).arg(&path).arg(source).status();
        assert!(built.expect("a C compiler").success());
        (directory, path)
    });
    path
}

/// Calls premount, and asserts that it ended by itself, in bounds.
pub fn call(arguments: &[&str], stdin: &[u8]) -> Ended {
    within_bounds(arguments, stdin, |memory| {
        let mut command = Command::new(peak());
        command
            .arg(memory)
            .arg(program())
            .args(arguments)
            .env_clear();
        command
    })
}

/// The same as CRIU calls it.
pub fn call_as_criu(world: &World) -> Ended {
    within_bounds(&["action"], b"", |memory| {
        let mut criu = AsCriu::restores(world);
        criu.images = world.path("images");
        criu.program = program();
        criu.before = [peak(), memory]
            .map(|path| path.to_str().unwrap().to_owned())
            .to_vec();
        criu.command(&["action"])
    })
}

fn program() -> PathBuf {
    let release = std::env::var_os("PREMOUNT_RELEASE_BINARY").map(PathBuf::from);
    release.unwrap_or_else(common::binary)
}

fn within_bounds(
    arguments: &[&str],
    stdin: &[u8],
    command: impl FnOnce(&Path) -> Command,
) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let [memory, out, err] = ["memory", "out", "err"].map(|name| directory.path().join(name));
    let start = Instant::now();
    let mut child = command(&memory)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let status = child.wait().unwrap().code().unwrap();
    let time = start.elapsed();
    let text = |path| String::from_utf8(fs::read(path).unwrap()).unwrap();
    let memory: u64 = text(&memory).trim().parse().expect("an exit");
    assert!(memory <= MEMORY, "{arguments:?}: {memory} KiB");
    assert!(time <= TIME, "{arguments:?}: {time:?}");
    Ended {
        status,
        stdout: text(&out),
        stderr: text(&err),
    }
}
