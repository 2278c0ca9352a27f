// SPDX-License-Identifier: Apache-2.0
//! A configuration of arbitrary text: it is rejected with one line, or every mount in it is clean.
#![no_main]

#[path = "../../tests/model/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| input::config(bytes));
