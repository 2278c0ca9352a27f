// SPDX-License-Identifier: Apache-2.0
//! The corpora of the fuzz targets, replayed without a fuzzer; that of `walk` is in tests/in_process.

use crate::common::corpus::replay;
use crate::input;

#[test]
fn states() {
    replay("state", input::state);
}

#[test]
fn configurations() {
    replay("config", input::config);
}

#[test]
fn images() {
    replay("images", input::images);
}

#[test]
fn files() {
    replay("files", input::files);
}

#[test]
fn archives() {
    replay("archive", input::archive);
}

#[test]
fn logs() {
    replay("log", input::log);
}
