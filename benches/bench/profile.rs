// SPDX-License-Identifier: Apache-2.0
//! Shows where premount's instructions and system calls go, with callgrind and strace.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::common::cost_input::CostInput;
use crate::count::{self, Call};

/// The number of functions to show.
const FUNCTIONS: usize = 25;

/// Prints the profiles of a build with symbols.
pub fn print(premount: &Path) {
    let (pod, many) = (CostInput::pod(), CostInput::nested(10_000));
    let calls = [
        ("a stage with nothing to do", Call::idle(premount), None),
        (
            "the pod, 4 to create",
            Call::hook(premount, &pod),
            Some(&pod),
        ),
        (
            "10,000 nested mounts to create",
            Call::hook(premount, &many),
            Some(&many),
        ),
    ];
    for (name, call, input) in calls {
        let prepare = || input.map(CostInput::remove_made);
        prepare();
        println!("\n== {name}: system calls\n");
        print_system_calls(&call);
        prepare();
        println!("\n== {name}: instructions, including callees\n");
        print_instructions(&call);
    }
}

fn print_system_calls(call: &Call) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in count::trace(call).unwrap_or_else(|error| panic!("{error}")) {
        let event = line.split_once(' ').map_or("", |(_, event)| event).trim();
        let name = event.split_once('(').map_or(event, |(name, _)| name);
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    println!("{total:7}  total");
    for (name, count) in counts {
        println!("{count:7}  {name}");
    }
}

fn print_instructions(call: &Call) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("callgrind.out");
    count::callgrind(call, &file).unwrap_or_else(|error| panic!("{error}"));
    for inclusive in ["yes", "no"] {
        println!("inclusive: {inclusive}");
        let output = Command::new("callgrind_annotate")
            .arg(format!("--inclusive={inclusive}"))
            .args(["--auto=no", "--threshold=100"])
            .arg(&file)
            .output()
            .expect("callgrind_annotate");
        let text = String::from_utf8_lossy(&output.stdout);
        let is_function = |line: &&str| line.contains("%)") && !line.contains("'2");
        for line in text.lines().filter(is_function).take(FUNCTIONS + 1) {
            println!("{}", shortened(line));
        }
    }
}

/// A line without the paths of sources on this machine.
fn shortened(line: &str) -> String {
    let (line, _) = line.split_once(" [").unwrap_or((line, ""));
    let (cost, function) = line.split_once(")  ").unwrap_or((line, ""));
    let function = ["/library/", "/registry/src/", env!("CARGO_MANIFEST_DIR")]
        .iter()
        .find_map(|at| Some(function.split_once(at)?.1))
        .unwrap_or(function);
    // Drop the name of the registry's directory.
    let function = function
        .strip_prefix("index.")
        .and_then(|function| Some(function.split_once('/')?.1))
        .unwrap_or(function);
    let short: String = function.chars().take(150).collect();
    format!("{cost})  {short}")
}
