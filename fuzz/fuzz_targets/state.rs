// SPDX-License-Identifier: Apache-2.0
//! A state JSON of arbitrary bytes: it is rejected with one line, or it names an absolute bundle.
#![no_main]

#[path = "../../tests/model/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| input::state(bytes));
