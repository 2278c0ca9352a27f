// SPDX-License-Identifier: Apache-2.0
//! An image of mounts of any bytes: it is refused with one line, or it names places that lie inside of
//! what the configuration names.
#![no_main]

#[path = "../../tests/model/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| input::images(bytes));
