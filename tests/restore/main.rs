// SPDX-License-Identifier: Apache-2.0
//! Real containers, checkpointed and restored by real runtimes and a real CRIU: first without
//! premount, to see what CRIU says, then with it.
//!
//! Each test is one container with one runtime and one trigger. It runs in a Debian root of its
//! own: the program starts itself again in there, with the test's name in `PREMOUNT_TEST_INSIDE`.
// Tests build worlds, spawn runtimes, and fail by panicking.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing, clippy::print_stderr, clippy::print_stdout)]

mod as_root;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod containerd;
mod counter;
mod crio;
mod crio_node;
mod differential;
mod enter;
mod findings;
mod first_start;
mod matrix;
#[path = "../model/mod.rs"]
mod model;
mod node;
mod podman;
mod workload;
mod world;

use enter::Root;
use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut tests = matrix::tests();
    tests.extend(first_start::tests());
    tests.extend(as_root::tests());
    tests.extend(differential::tests());
    tests.extend(workload::tests());
    tests.extend(findings::tests());
    tests.extend(podman::tests());
    tests.extend(node::tests());
    tests.extend(containerd::tests());
    tests.extend(crio::tests());
    if let Ok(name) = std::env::var(enter::INSIDE) {
        let test = tests.into_iter().find(|test| test.name == name);
        return test.expect("a test of that name").run_here();
    }
    let arguments = Arguments::from_args();
    let skipped = enter::why_not();
    if let Some(reason) = &skipped {
        eprintln!(
            "skipped: {} restores by real runtimes: {reason}",
            tests.len()
        );
    }
    let trials = tests.into_iter().map(|test| {
        let name = test.name.clone();
        Trial::test(name, move || {
            enter::run(test.root, &test.name).map_err(Into::into)
        })
        .with_ignored_flag(skipped.is_some())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// A test: a name, and what to do inside the root. It fails by panicking.
pub struct Test {
    name: String,
    root: Root,
    body: Box<dyn FnOnce() + Send>,
}

impl Test {
    fn new(root: Root, name: &str, body: impl FnOnce() + Send + 'static) -> Self {
        Self {
            name: format!("{}::{name}", root.name()),
            root,
            body: Box::new(body),
        }
    }

    fn run_here(self) {
        (self.body)();
    }
}
