// SPDX-License-Identifier: Apache-2.0
//! A log of arbitrary bytes: what `explain` says of it has a few lines, and steers no terminal.
#![no_main]

#[path = "../../tests/model/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| input::log(bytes));
