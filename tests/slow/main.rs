// SPDX-License-Identifier: Apache-2.0
//! Tests that take minutes and need no root: what a call may cost at its worst, and what becomes of one
//! that fails or is killed at any point. They start premount as a program.
//! tests/README.md says where a new test goes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing, clippy::print_stdout)]

mod bounds;
mod budgets;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod interrupted;
