// SPDX-License-Identifier: Apache-2.0
//! The floor for Rust: a static program that does nothing but Rust's own start-up.

fn main() {}
