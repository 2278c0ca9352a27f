// SPDX-License-Identifier: Apache-2.0
//! Real containers, checkpointed and restored by real runtimes and a real CRIU: first without
//! premount, to see what CRIU says, then with it.
//!
//! Each test is one container with one runtime and one trigger. It runs in a Debian root of its
//! own: the program starts itself again in there, with the test's name in `PREMOUNT_TEST_INSIDE`.

// Tests set up hosts, spawn runtimes, and fail by panicking.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing, clippy::print_stderr, clippy::print_stdout)]

mod alone;
mod as_root;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod containerd;
mod counter;
mod crio;
mod crio_node;
mod damage;
mod diagnosis;
mod differential;
mod docker;
mod enter;
mod explain;
mod findings;
mod first_start;
mod holder;
mod host;
mod matrix;
#[path = "../model/mod.rs"]
mod model;
mod on_a_node;
mod open_files;
mod packages;
mod planted;
mod podman;
mod user_namespace;
mod verdict;
mod workload;

use enter::{Root, With};
use libtest_mimic::{Arguments, Trial};

fn main() {
    if holder::is_called() {
        holder::main();
    }
    let mut tests = matrix::tests();
    tests.extend(first_start::tests());
    tests.extend(alone::tests());
    tests.extend(planted::tests());
    tests.extend(user_namespace::tests());
    tests.extend(as_root::tests());
    tests.extend(differential::tests());
    tests.extend(verdict::tests());
    tests.extend(workload::tests());
    tests.extend(open_files::tests());
    tests.extend(diagnosis::tests());
    tests.extend(findings::tests());
    tests.extend(explain::tests());
    tests.extend(podman::tests());
    tests.extend(on_a_node::tests());
    tests.extend(containerd::tests());
    tests.extend(docker::tests());
    tests.extend(crio::tests());
    tests.extend(packages::tests());
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
            enter::run(test.root, &test.name, test.with).map_err(Into::into)
        })
        .with_ignored_flag(skipped.is_some())
    });
    let outside = packages::OUTSIDE.map(|(name, body)| {
        Trial::test(format!("packages::{name}"), move || {
            body().map_err(Into::into)
        })
        .with_ignored_flag(skipped.is_some())
    });
    libtest_mimic::run(&arguments, trials.chain(outside).collect()).exit();
}

/// A test: a name, and what to do inside the root. It fails by panicking.
pub struct Test {
    name: String,
    root: Root,
    with: With,
    body: Box<dyn FnOnce() + Send>,
}

impl Test {
    fn new(root: Root, name: &str, body: impl FnOnce() + Send + 'static) -> Self {
        Self {
            name: format!("{}::{name}", root.name()),
            root,
            with: With::Premount,
            body: Box::new(body),
        }
    }

    /// A test that has no premount but what the packages install.
    fn of_packages(root: Root, name: &str, body: impl FnOnce() + Send + 'static) -> Self {
        Self {
            with: With::Packages,
            ..Self::new(root, name, body)
        }
    }

    fn run_here(self) {
        (self.body)();
    }
}
