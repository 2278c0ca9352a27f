// SPDX-License-Identifier: Apache-2.0
//! What tests of all kinds share; tests/README.md lists it. Here is what most of them use.
#![allow(dead_code, unused_imports)] // Not every binary uses all of it.
#![allow(clippy::indexing_slicing, clippy::print_stdout)]

pub mod acting;
pub mod archive;
mod as_criu;
mod call;
pub mod corpus;
pub mod cost_input;
pub mod file_image;
pub mod inodes;
pub mod mount_image;
pub mod node_root;
pub mod protobuf;
mod world;

use std::path::Path;

use nix::sys::stat::Mode;
use serde_json::{Value, json};

pub use as_criu::AsCriu;
pub use call::{
    BINARY, Ended, binary, copy_binary, ended, output, output_of, output_within, premount, to_full,
};
pub use world::World;

/// The variable that says how many times as much the tests with random input do.
pub const SOAK: &str = "PREMOUNT_SOAK";

/// How many times as much the tests with random input do: 1, or more in `make soak`.
pub fn soak() -> u32 {
    let times = std::env::var(SOAK).ok();
    times.map_or(1, |times| times.parse().expect("a number"))
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether this test can't run here, for want of root: it says so.
pub fn skipped_without_root(what: &str) -> bool {
    if !is_root() {
        println!("skipped: it takes root to {what}");
    }
    !is_root()
}

pub fn make_fifo(path: &Path) {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)).unwrap();
}

/// The `linux` of a configuration whose user namespace has so many users and groups, from `first` of the
/// host's on.
pub fn user_namespace(first: u32, size: u32) -> Value {
    let map = json!([{"containerID": 0, "hostID": first, "size": size}]);
    json!({"uidMappings": map, "gidMappings": map})
}
