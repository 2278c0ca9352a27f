// SPDX-License-Identifier: Apache-2.0
//! `make bench`: measures premount against a program that does nothing and the scripts it replaces, and
//! updates docs/performance.md. `make profile`: shows where its instructions go.
//!
//! Every call is a separate process, timed from before it is started until it has exited. The calls take
//! turns, round by round, so that other load on the machine affects all of them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod contenders;
mod count;
#[allow(dead_code)]
#[path = "../../tests/restore/enter.rs"]
mod enter;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/restore/host/mod.rs"]
mod host;
mod measure;
mod profile;
mod pure;
mod restore;
mod table;

use std::path::{Path, PathBuf};

/// The environment variable with the path of the static build to measure.
const RELEASE: &str = "PREMOUNT_RELEASE_BINARY";

fn main() {
    // premount would spend system calls on closing inherited descriptors.
    premount::internals::close_inherited();
    if std::env::var_os(enter::INSIDE).is_some() {
        return restore::inside();
    }
    let Some(release) = std::env::var_os(RELEASE).map(PathBuf::from) else {
        println!(
            "{RELEASE} is not set: run `make bench`, which builds the program to measure and sets it"
        );
        return;
    };
    if std::env::args().any(|argument| argument == "profile") {
        return profile::print(&release);
    }
    bench(&release);
}

fn bench(release: &Path) {
    let programs = measure::Programs::build(release);
    let contenders = contenders::all(&programs);
    for contender in &contenders {
        contender.verify();
    }
    let times = measure::in_turns(&contenders);
    let costs = measure::costs(&programs, &contenders);
    let restores = restore::measure(&programs);
    let size = release.metadata().unwrap().len();
    let text = table::text(&table::Results {
        contenders: &contenders,
        times: &times,
        costs: &costs,
        restores: restores.as_ref(),
        pure: &pure::estimates(),
        size,
    });
    print!("{text}");
    table::write(&text);
}
