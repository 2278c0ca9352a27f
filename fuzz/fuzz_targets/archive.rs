// SPDX-License-Identifier: Apache-2.0
//! An archive of arbitrary bytes: it is rejected with one line, or it has mounts.
#![no_main]

#[path = "../../tests/model/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| input::archive(bytes));
