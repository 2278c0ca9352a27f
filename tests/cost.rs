// SPDX-License-Identifier: Apache-2.0
//! What premount costs may not grow unseen: counts of the static release build that depend on no
//! machine's speed. `make test` builds it, and says where it is; `make bench` measures times.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::print_stderr)]

mod common;
#[path = "../benches/bench/count.rs"]
mod count;

use std::path::{Path, PathBuf};

use common::inputs::Input;
use count::{Call, instructions, system_calls};
use libtest_mimic::{Arguments, Trial};

/// The variable that says where the static release build is.
const RELEASE: &str = "PREMOUNT_RELEASE_BINARY";

/// Most bytes of the program.
const SIZE: u64 = 5 << 19;

/// What one call may cost.
struct Budget {
    /// From execve to exit. Some 30 of them are of the C library and of Rust's start.
    system_calls: u64,
    /// As measured with Rust 1.95 and glibc 2.36.
    instructions: u64,
}

const IDLE: Budget = Budget {
    system_calls: 34,
    instructions: 63_000,
};
const POD_THERE: Budget = Budget {
    system_calls: 105,
    instructions: 1_248_000,
};
const POD_MISSING: Budget = Budget {
    system_calls: 117,
    instructions: 1_296_000,
};
/// 1,000 nested mounts that need nothing.
const THOUSAND_THERE: Budget = Budget {
    system_calls: 2084,
    instructions: 17_890_000,
};

/// How many more system calls than budgeted are no failure: another C library starts otherwise, and
/// longer paths take more reads.
const CALLS_MARGIN: u64 = 5;

/// How many percent more instructions than budgeted are no failure: another compiler or C library, other
/// lengths of temporary paths, and the random seeds of hash maps count differently.
const MARGIN: u64 = 15;

/// A test, of the release build.
type Test = fn(&Path) -> Result<(), String>;

fn main() {
    // premount closes what it inherits, and that would count.
    premount::sys::close_inherited();
    let arguments = Arguments::from_args();
    let release = std::env::var_os(RELEASE).map(PathBuf::from);
    if release.is_none() {
        eprintln!(
            "skipped: the costs of the release build: {RELEASE} is not set (make test sets it)"
        );
    }
    let tests: [(&str, Test); 5] = [
        ("the_program_stays_small", size),
        ("a_stage_with_nothing_to_do_stays_cheap", idle),
        ("a_pod_that_needs_nothing_stays_cheap", pod_there),
        ("a_pod_that_needs_four_directories_stays_cheap", pod_missing),
        ("a_thousand_mounts_that_need_nothing_stay_cheap", thousand),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        let release = release.clone();
        let ignored = release.is_none();
        Trial::test(name, move || {
            let release = release.ok_or(format!("{RELEASE} is not set"))?;
            if !release.is_file() {
                let built = "`make` builds it";
                return Err(format!("{}: no release build: {built}", release.display()).into());
            }
            test(&release).map_err(Into::into)
        })
        .with_ignored_flag(ignored)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn size(release: &Path) -> Result<(), String> {
    let size = release.metadata().unwrap().len();
    within("bytes", size, SIZE)
}

fn idle(release: &Path) -> Result<(), String> {
    check(&Call::idle(release), &IDLE, || {})
}

fn pod_there(release: &Path) -> Result<(), String> {
    let pod = Input::pod();
    let call = Call::hook(release, &pod);
    call.run();
    check(&call, &POD_THERE, || {})
}

fn pod_missing(release: &Path) -> Result<(), String> {
    let pod = Input::pod();
    check(&Call::hook(release, &pod), &POD_MISSING, || {
        pod.remove_made();
    })?;
    let made = pod.found();
    assert_eq!(made.len(), 4, "{made:?}");
    Ok(())
}

fn thousand(release: &Path) -> Result<(), String> {
    let input = Input::nested(1000);
    let call = Call::hook(release, &input);
    call.run();
    check(&call, &THOUSAND_THERE, || {})
}

/// Counts a call, each time after `before`, and compares with its budget.
fn check(call: &Call, budget: &Budget, before: impl Fn()) -> Result<(), String> {
    before();
    let calls = within(
        "system calls",
        system_calls(call)?,
        budget.system_calls + CALLS_MARGIN,
    );
    before();
    let most = budget.instructions * (100 + MARGIN) / 100;
    let instructions = within("instructions", instructions(call)?, most);
    match (calls, instructions) {
        (Err(one), Err(other)) => Err(format!("{one}; {other}")),
        (one, other) => one.and(other),
    }
}

fn within(what: &str, count: u64, most: u64) -> Result<(), String> {
    if count > most {
        return Err(format!("{count} {what}, and at most {most} are budgeted"));
    }
    Ok(())
}
