// SPDX-License-Identifier: Apache-2.0
//! Tests that call premount's core as a library. To create anything it clears the umask, which is the whole
//! process's: what another test made meanwhile would be writable for all. So they have a process of their own.
//! tests/README.md says where a new test goes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing)]

#[path = "../model/against.rs"]
mod against;
#[path = "../common/mod.rs"]
mod common;
mod exchanged;
#[path = "../model/mod.rs"]
mod model;
mod model_walk;
mod walk_corpus;
