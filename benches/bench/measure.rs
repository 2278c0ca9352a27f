// SPDX-License-Identifier: Apache-2.0
//! Measures times and counts of the contenders, and builds the programs for that.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::contenders::{Contender, Counted, ROUNDS};
use crate::count;

/// The programs to run.
pub struct Programs {
    pub premount: PathBuf,
    pub floor: PathBuf,
    pub floor_rust: PathBuf,
    /// Measures peak memory.
    pub peak: PathBuf,
    _directory: tempfile::TempDir,
}

impl Programs {
    /// Builds the baselines.
    pub fn build(release: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let built = |name: &str| directory.path().join(name);
        let programs = Self {
            premount: release.to_owned(),
            floor: built("floor"),
            floor_rust: built("floor-rust"),
            peak: built("peak"),
            _directory: directory,
        };
        for (source, program) in [("floor.c", &programs.floor), ("peak.c", &programs.peak)] {
            let source = baseline(source);
            run(Command::new("cc")
                .args(["-static", "-O2", "-s", "-o"])
                .arg(program)
                .arg(source));
        }
        let mut rustc = Command::new("rustc");
        // The same options as for premount (Cargo.toml, profile.release).
        rustc.args([
            "--edition",
            "2024",
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
        ]);
        rustc.args([
            "-C",
            "lto=fat",
            "-C",
            "strip=symbols",
            "-C",
            "target-feature=+crt-static",
        ]);
        let source = baseline("floor.rs");
        run(rustc.arg("-o").arg(&programs.floor_rust).arg(source));
        programs
    }
}

/// The path of a baseline's source.
pub fn baseline(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/baseline")
        .join(name)
}

fn run(command: &mut Command) {
    let status = command.status().expect("a compiler");
    assert!(status.success(), "{command:?}: {status}");
}

/// Runs all contenders in turns, and returns the times of each.
pub fn in_turns(contenders: &[Contender]) -> Vec<Vec<Duration>> {
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..ROUNDS {
        if round % 100 == 0 {
            eprintln!("round {round} of {ROUNDS}");
        }
        for (contender, times) in contenders.iter().zip(&mut times) {
            if round % contender.every == 0 {
                contender.prepare();
                times.push(time(contender));
            }
        }
    }
    times
}

fn time(contender: &Contender) -> Duration {
    let mut command = contender.call.command();
    let start = Instant::now();
    let status = command.spawn().and_then(|mut child| child.wait());
    let time = start.elapsed();
    let status = status.expect("a program");
    assert!(status.success(), "{}: {status}", contender.name);
    time
}

/// The cost of a call besides time.
pub struct Cost {
    pub system_calls: u64,
    pub instructions: Option<u64>,
    /// In KiB.
    pub peak: u64,
}

/// The costs of all contenders.
pub fn costs(programs: &Programs, contenders: &[Contender]) -> Vec<Cost> {
    let cost = |contender: &Contender| -> Result<Cost, String> {
        eprintln!("counting: {}", contender.name);
        contender.prepare();
        let system_calls = count::system_calls(&contender.call)?;
        contender.prepare();
        let peak = count::peak_memory(&programs.peak, &contender.call)?;
        contender.prepare();
        let counted = contender.counted == Counted::All;
        let instructions = counted.then(|| count::instructions(&contender.call));
        Ok(Cost {
            system_calls,
            instructions: instructions.transpose()?,
            peak,
        })
    };
    let costs: Result<_, String> = contenders.iter().map(cost).collect();
    costs.unwrap_or_else(|error| panic!("{error}"))
}

/// The median.
pub fn median<T: Copy + Ord>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
