// SPDX-License-Identifier: Apache-2.0
//! The corpus of the fuzz target `walk`, replayed without a fuzzer; the others are in tests/quick.

use crate::common::corpus::replay;
use crate::{against, model};

#[test]
fn walks() {
    replay("walk", |bytes| {
        let container = model::Container::from_bytes(bytes);
        assert_eq!(against::difference(&container), None, "{container}");
    });
}
