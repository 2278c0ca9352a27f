// SPDX-License-Identifier: Apache-2.0
//! Random containers: what premount plans and makes on real directories is what a first start makes
//! in a model of the kernel's mount tree. The fuzz target `walk` does the same with chosen bytes.

use crate::against;
use crate::model::Container;

/// How many containers; `PREMOUNT_MODEL_CASES` for more.
const CASES: u64 = 3000;

#[test]
fn premount_makes_what_a_first_start_makes_in_the_model() {
    let cases = std::env::var("PREMOUNT_MODEL_CASES")
        .ok()
        .map_or(CASES, |cases| cases.parse().unwrap());
    for seed in 0..cases {
        let container = Container::from_seed(seed);
        if against::difference(&container).is_some() {
            let smallest = container.shrunk(|smaller| against::difference(smaller).is_some());
            let difference = against::difference(&smallest).unwrap();
            panic!("seed {seed}, at its smallest:\n{smallest}\n{difference}");
        }
    }
}

/// `PREMOUNT_FINDING=FILE cargo test --test in_process -- --ignored` shows a finding of the fuzz target
/// `walk` at its smallest.
#[test]
#[ignore = "takes a file with a finding"]
fn a_finding_at_its_smallest() {
    let file = std::env::var_os("PREMOUNT_FINDING").expect("PREMOUNT_FINDING");
    let container = Container::from_bytes(&std::fs::read(file).unwrap());
    let smallest = container.shrunk(|smaller| against::difference(smaller).is_some());
    panic!("{smallest}\n{:?}", against::difference(&smallest));
}
