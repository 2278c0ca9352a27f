// SPDX-License-Identifier: Apache-2.0
//! An image of open files or of a task, of arbitrary bytes: it is rejected with one line, or it names only places
//! inside the mounts of the configuration. The first byte says which image it is.
#![no_main]

#[path = "../../tests/model/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| input::files(bytes));
