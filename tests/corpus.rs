// SPDX-License-Identifier: Apache-2.0
//! The corpora of the fuzz targets, replayed without a fuzzer.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing)]

#[path = "model/against.rs"]
mod against;
#[path = "model/input.rs"]
mod input;
mod model;

use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        run(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0);
}

#[test]
fn states() {
    replay("state", input::state);
}

#[test]
fn configurations() {
    replay("config", input::config);
}

#[test]
fn images() {
    replay("images", input::images);
}

#[test]
fn archives() {
    replay("archive", input::archive);
}

#[test]
fn walks() {
    replay("walk", |bytes| {
        let container = model::Container::from_bytes(bytes);
        assert_eq!(against::difference(&container), None, "{container}");
    });
}
