// SPDX-License-Identifier: Apache-2.0
//! The floor of Rust: a static program that does nothing, with what Rust's own start-up does.

fn main() {}
