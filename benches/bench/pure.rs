// SPDX-License-Identifier: Apache-2.0
//! The results of the criterion benchmarks (benches/pure.rs).

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// The name and the median of each benchmark; empty if criterion has not run.
pub fn estimates() -> Vec<(String, Duration)> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let mut all = Vec::new();
    for entry in std::fs::read_dir(target.join("criterion"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |name: &str| -> Option<Value> {
            let text = std::fs::read_to_string(entry.path().join("new").join(name)).ok()?;
            serde_json::from_str(&text).ok()
        };
        if let (Some(benchmark), Some(estimates)) = (read("benchmark.json"), read("estimates.json"))
        {
            let name = benchmark["full_id"].as_str().unwrap().to_owned();
            let nanoseconds = estimates["median"]["point_estimate"].as_f64().unwrap();
            all.push((name, Duration::from_secs_f64(nanoseconds / 1e9)));
        }
    }
    all.sort();
    all
}
