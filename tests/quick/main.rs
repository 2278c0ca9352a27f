// SPDX-License-Identifier: Apache-2.0
//! Tests that take seconds and need no root. They start premount as a program, or call functions of the
//! library that change nothing in the process: these tests run side by side in one.
//! tests/README.md says where a new test goes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing, clippy::print_stderr)]

mod alone;
mod archives;
mod check;
mod checkpoints;
#[path = "../common/mod.rs"]
mod common;
mod corpus;
mod diagnosis;
mod explain;
mod failed_mounts;
mod host;
mod image_limits;
mod images;
#[path = "../model/input.rs"]
mod input;
mod invalid_input;
mod log;
mod mountpoints;
mod node;
mod open_files;
mod properties;
mod report;
mod surroundings;
mod triggers;
mod trust;
