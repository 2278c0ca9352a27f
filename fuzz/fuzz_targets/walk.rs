// SPDX-License-Identifier: Apache-2.0
//! A container from arbitrary bytes, on real directories: premount creates what a first start creates in a
//! model of the kernel's mount tree.
#![no_main]

#[path = "../../tests/model/against.rs"]
mod against;
#[path = "../../tests/model/mod.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let container = model::Container::from_bytes(bytes);
    if let Some(difference) = against::difference(&container) {
        panic!("{container}\n{difference}");
    }
});
