// SPDX-License-Identifier: Apache-2.0
//! A mountpoints image of arbitrary bytes: it is rejected with one line, or it names only places inside the
//! mounts of the configuration.
#![no_main]

#[path = "../../tests/model/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| input::images(bytes));
