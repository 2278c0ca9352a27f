// SPDX-License-Identifier: Apache-2.0
//! The corpora of the fuzz targets.

use std::path::Path;

/// Runs each input of a target's corpus, and makes sure that there is one.
pub fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        run(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0);
}
