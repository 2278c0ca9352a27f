// SPDX-License-Identifier: Apache-2.0
//! A process that counts by making directories in a volume. It never has a file open: CRIU compares the
//! sizes of open files, and what is checkpointed by an engine may run on for a while.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The volume's place on the host; in the container it is `/count`.
pub const VOLUME: &str = "/w/count";
/// What the container's process does.
pub const SCRIPT: &str = "i=0; while :; do i=$((i+1)); mkdir -p /count/$i; sleep 0.02; done";

/// Makes the volume, or empties it.
pub fn reset() {
    let _ = fs::remove_dir_all(VOLUME);
    fs::create_dir_all(VOLUME).unwrap();
}

/// Empties the volume and keeps it: what is mounted somewhere stays.
pub fn forget() {
    for number in numbers() {
        fs::remove_dir(Path::new(VOLUME).join(number.to_string())).unwrap();
    }
}

/// Waits until the process counts. Gives how far it is.
pub fn wait() -> u64 {
    wait_for("the process does not count", || {
        let numbers = numbers();
        (numbers.len() > 2).then(|| numbers.into_iter().max())?
    })
}

/// The process counts on, where it had counted beyond `before`, and didn't begin again.
pub fn assert_counts_on(before: u64) {
    wait();
    let first = numbers().into_iter().min().unwrap();
    assert!(first > before, "from {first} on, not from {before} on");
}

fn numbers() -> Vec<u64> {
    let entries = fs::read_dir(VOLUME).unwrap();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.filter_map(|entry| number(entry.unwrap())).collect()
}

/// Waits until there is a value.
pub fn wait_for<T>(otherwise: &str, value: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{otherwise}");
        thread::sleep(Duration::from_millis(10));
    }
}
