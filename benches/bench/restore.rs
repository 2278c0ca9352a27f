// SPDX-License-Identifier: Apache-2.0
//! premount's share of a whole restore by real runtimes and CRIU, in a separate Debian root in which this
//! program runs itself again.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::enter::{self, Root};
use crate::host::{Host, Runtime, SOURCES, Trigger};
use crate::measure::{Programs, median};

/// The number of restores with each runtime and script.
const ROUNDS: usize = 60;
/// The path of the program that does nothing in the Debian root.
const FLOOR: &str = "/floor";

/// The action scripts to compare.
const SCRIPTS: [&str; 3] = ["none", "floor", "premount"];

/// The times of the restores with one runtime in nanoseconds: in each round one with each script.
pub struct Restores {
    pub runtime: &'static str,
    rounds: Vec<[i64; 3]>,
}

impl Restores {
    /// The median without any script.
    pub fn alone(&self) -> i64 {
        self.median_of(|round| round[0])
    }

    /// The median with a script that does nothing.
    pub fn with_nothing(&self) -> i64 {
        self.median_of(|round| round[1])
    }

    /// The median with premount.
    pub fn with_premount(&self) -> i64 {
        self.median_of(|round| round[2])
    }

    /// The time that premount adds to a restore without a script: the median of the differences within a
    /// round.
    pub fn added(&self) -> i64 {
        self.median_of(|round| round[2] - round[0])
    }

    /// The time that any script adds: CRIU forks for it at each stage.
    pub fn added_by_nothing(&self) -> i64 {
        self.median_of(|round| round[1] - round[0])
    }

    /// The time that premount adds to a script that does nothing.
    pub fn of_premount(&self) -> i64 {
        self.median_of(|round| round[2] - round[1])
    }

    /// The middle half of these differences, which shows how precise the median is.
    pub fn of_premount_spread(&self) -> [i64; 2] {
        let mut all: Vec<i64> = self
            .rounds
            .iter()
            .map(|round| round[2] - round[1])
            .collect();
        all.sort_unstable();
        [all[all.len() / 4], all[all.len() * 3 / 4]]
    }

    fn median_of(&self, value: impl Fn(&[i64; 3]) -> i64) -> i64 {
        median(&self.rounds.iter().map(value).collect::<Vec<_>>())
    }
}

/// Measures whole restores. None, with a message, if they can't run here.
pub fn measure(programs: &Programs) -> Option<Vec<Restores>> {
    if let Some(reason) = enter::why_not() {
        eprintln!("no whole restores: {reason}");
        return None;
    }
    eprintln!("restoring");
    let files = vec![
        (programs.premount.clone(), enter::PREMOUNT.to_owned()),
        (programs.floor.clone(), FLOOR.to_owned()),
    ];
    let text = enter::output(Root::Sid, "bench", files)
        .unwrap_or_else(|error| panic!("restores: {error}"));
    let rounds_of = |runtime: Runtime| {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(runtime.name()));
        let times = |line: &str| -> Vec<i64> {
            line.split_whitespace()
                .map(|time| time.parse().unwrap())
                .collect()
        };
        Restores {
            runtime: runtime.name(),
            rounds: lines.map(|line| times(line).try_into().unwrap()).collect(),
        }
    };
    Some([Runtime::Crun, Runtime::Runc].map(rounds_of).into())
}

/// The part that runs in the Debian root. Prints one line per round.
pub fn inside() {
    for runtime in [Runtime::Crun, Runtime::Runc] {
        let mut host = Host::new(Root::Sid, runtime);
        host.set_mounts(mounts());
        host.write_config(Trigger::None);
        host.start();
        host.checkpoint();
        for round in 0..ROUNDS {
            let mut times = SCRIPTS.map(|_| String::new());
            // Each script is first in a third of the rounds.
            for turn in 0..SCRIPTS.len() {
                let script = (round + turn) % SCRIPTS.len();
                times[script] = restore(&host, SCRIPTS[script]).to_string();
            }
            println!("{} {}", runtime.name(), times.join(" "));
        }
    }
}

fn restore(host: &Host, script: &str) -> u128 {
    match script {
        "premount" => host.write_config(Trigger::Action),
        "floor" => {
            host.write_config(Trigger::None);
            host.add_criu_config(&format!("action-script {FLOOR}\n"));
        }
        _ => host.write_config(Trigger::None),
    }
    let start = Instant::now();
    host.restore()
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    let time = start.elapsed();
    host.delete();
    time.as_nanos()
}

/// A volume and 15 mounts nested in it; 18 mounts with /proc and /dev.
fn mounts() -> Vec<Value> {
    let bind = |at: &str, source: &str| {
        let source = Path::new(SOURCES).join(source);
        std::fs::create_dir_all(&source).unwrap();
        json!({"destination": at, "type": "bind", "source": source, "options": ["bind"]})
    };
    let mut mounts = vec![bind("/data", "volume")];
    mounts.extend((0..15).map(|number| {
        std::fs::create_dir_all(Path::new(SOURCES).join(format!("volume/d{number}"))).unwrap();
        bind(&format!("/data/d{number}"), &format!("nested-{number}"))
    }));
    mounts
}
