// SPDX-License-Identifier: Apache-2.0
//! Tests that need root: they mount, or give files to other users. Without root each says so and passes.
//! tests/README.md says where a new test goes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod host_mounts;
mod open_files;
mod powers;
mod trust;
