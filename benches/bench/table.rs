// SPDX-License-Identifier: Apache-2.0
//! Writes the tables of docs/performance.md.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::contenders::{self as name, Contender};
use crate::measure::{Cost, median};
use crate::restore::Restores;

const BEGIN: &str = "<!-- make bench: begin -->\n";
const END: &str = "<!-- make bench: end -->\n";

/// The results of all measurements.
pub struct Results<'a> {
    pub contenders: &'a [Contender],
    pub times: &'a [Vec<Duration>],
    pub costs: &'a [Cost],
    pub restores: Option<&'a Vec<Restores>>,
    pub pure: &'a [(String, Duration)],
    /// The size of the program in bytes.
    pub size: u64,
}

impl Results<'_> {
    fn index(&self, name: &str) -> usize {
        let found = self.contenders.iter().position(|it| it.name == name);
        found.expect("a contender of that name")
    }

    /// The median time in microseconds.
    fn time(&self, name: &str) -> f64 {
        microseconds(median(&self.times[self.index(name)]))
    }

    fn cost(&self, name: &str) -> &Cost {
        &self.costs[self.index(name)]
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// All tables.
pub fn text(results: &Results) -> String {
    let mut text = format!("{}\n", environment());
    calls(results, &mut text);
    if let Some(restores) = results.restores {
        whole_restores(restores, &mut text);
    }
    if !results.pure.is_empty() {
        text += "\n| pure part, by criterion | median |\n| --- | ---: |\n";
        for (name, time) in results.pure {
            writeln!(text, "| {name} | {} |", shown(microseconds(*time))).unwrap();
        }
    }
    targets(results, &mut text);
    text
}

fn calls(results: &Results, text: &mut String) {
    *text += "\n| call | runs | median | × floor | per mount | system calls | instructions | peak memory |\n";
    *text += "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    let floor = results.time(name::FLOOR);
    for (contender, cost) in results.contenders.iter().zip(results.costs) {
        let time = results.time(contender.name);
        let per_mount = contender
            .mounts
            .map(|mounts| format!("{:.1} µs", time / f64::from(mounts)));
        let instructions = cost.instructions.map(grouped);
        writeln!(
            text,
            "| {} | {} | {} | {:.2} | {} | {} | {} | {:.1} MiB |",
            contender.name,
            results.times[results.index(contender.name)].len(),
            shown(time),
            time / floor,
            per_mount.unwrap_or_default(),
            grouped(cost.system_calls),
            instructions.unwrap_or_default(),
            cost.peak as f64 / 1024.0,
        )
        .unwrap();
    }
}

fn whole_restores(restores: &[Restores], text: &mut String) {
    *text += "\n| whole restore | without a script | a script that does nothing | premount | added by any script | added by premount (middle half) | its share |\n";
    *text += "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    for it in restores {
        let [alone, nothing, premount, any_script, own] = [
            it.alone(),
            it.with_nothing(),
            it.with_premount(),
            it.added_by_nothing(),
            it.of_premount(),
        ]
        .map(|time| shown(time as f64 / 1e3));
        let [least, most] = it.of_premount_spread().map(|time| shown(time as f64 / 1e3));
        writeln!(
            text,
            "| `{} restore` | {alone} | {nothing} | {premount} | {any_script} | {own} ({least} to {most}) | {:.1} % |",
            it.runtime,
            share(it, it.of_premount()),
        )
        .unwrap();
    }
}

/// A time as a percentage of a restore with premount.
fn share(restores: &Restores, time: i64) -> f64 {
    100.0 * time as f64 / restores.with_premount() as f64
}

fn targets(results: &Results, text: &mut String) {
    *text += "\n| target | at most | measured | |\n| --- | ---: | ---: | --- |\n";
    let floor = results.time(name::FLOOR);
    let times = |name| results.time(name) / floor;
    let calls = |name| results.cost(name).system_calls as f64;
    let peak = |name| results.cost(name).peak as f64 / 1024.0;
    let mut line =
        |what: &str, most, measured, digits, unit| target(text, what, most, measured, digits, unit);
    line(
        "pod, all there, times the floor",
        1.5,
        times(name::POD_THERE),
        2,
        "",
    );
    line(
        "pod, 4 to create, times the floor",
        1.5,
        times(name::POD_MISSING),
        2,
        "",
    );
    let bash = results.time(name::POD_MISSING) / results.time(name::BASH_MISSING);
    line(
        "pod, 4 to create, as a share of bash + jq (1/40)",
        2.5,
        100.0 * bash,
        2,
        " %",
    );
    line(
        "pod, all there, system calls",
        110.0,
        calls(name::POD_THERE),
        0,
        "",
    );
    line(
        "pod, 4 to create, system calls",
        110.0,
        calls(name::POD_MISSING),
        0,
        "",
    );
    let growth = results.time(name::NESTED_10000) / results.time(name::NESTED_1000);
    line("10,000 nested mounts, times 1,000", 11.0, growth, 1, "");
    let per_mount = results.time(name::NESTED_10000) / 10_000.0;
    line("10,000 nested mounts, per mount", 8.0, per_mount, 1, " µs");
    line("pod, peak memory", 4.0, peak(name::POD_MISSING), 1, " MiB");
    line(
        "10,000 nested mounts, peak memory",
        64.0,
        peak(name::NESTED_10000),
        1,
        " MiB",
    );
    let size = results.size as f64 / f64::from(1 << 20);
    line("size of the program", 2.5, size, 2, " MiB");
    line(
        "a stage with nothing to do, times the floor",
        1.25,
        times(name::IDLE),
        2,
        "",
    );
    restore_targets(results, text);
}

fn restore_targets(results: &Results, text: &mut String) {
    // The calls measured on their own: differences between restores are lost in the noise.
    let stages = 5.0 * results.time(name::IDLE) + results.time(name::ACTION_THERE);
    for it in results.restores.into_iter().flatten() {
        let calls = 100.0 * stages / (it.alone() as f64 / 1e3);
        let what = format!(
            "`{} restore`, premount's six calls as a share of its time",
            it.runtime
        );
        target(text, &what, 10.0, calls, 1, " %");
        let what = "the same, by the difference from a script that does nothing";
        target(text, what, 10.0, share(it, it.of_premount()), 1, " %");
        let what = "the same, by the difference from no script";
        target(text, what, 10.0, share(it, it.added()), 1, " %");
    }
}

/// Writes a row of the targets.
fn target(text: &mut String, what: &str, most: f64, measured: f64, digits: usize, unit: &str) {
    let met = if measured <= most {
        "met"
    } else {
        "**not met**"
    };
    writeln!(
        text,
        "| {what} | {most}{unit} | {measured:.digits$}{unit} | {met} |"
    )
    .unwrap();
}

/// The environment of the measurements, without identifying the machine.
fn environment() -> String {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .output()
            .expect("a program");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = processors
        .lines()
        .filter(|line| line.starts_with("model name"));
    let model = models.clone().next().and_then(|line| line.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Without the builder's suffix.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    let rustc = first_line("rustc", &["--version"]);
    let rustc = rustc.split(' ').nth(1).unwrap_or_default();
    let bash = first_line("bash", &["-c", "echo ${BASH_VERSION%%(*}"]);
    format!(
        "Measured on {}: {} × {}, Linux {kernel}, Rust {rustc}, bash {bash}, {}, {}.",
        first_line("date", &["-u", "+%F"]),
        models.count(),
        model.map_or("an unnamed processor", |(_, model)| model),
        first_line("jq", &["--version"]).replace('-', " "),
        first_line("python3", &["--version"]),
    )
}

/// A time in microseconds, with three digits.
fn shown(time: f64) -> String {
    match time {
        time if time.abs() < 10.0 => format!("{time:.2} µs"),
        time if time.abs() < 1000.0 => format!("{time:.0} µs"),
        time if time.abs() < 10_000.0 => format!("{:.2} ms", time / 1e3),
        time => format!("{:.1} ms", time / 1e3),
    }
}

/// A number with thousands separators.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Replaces the tables between the markers in docs/performance.md.
pub fn write(text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let page = fs::read_to_string(&file).expect("docs/performance.md");
    let (before, rest) = page.split_once(BEGIN).expect("the first marker");
    let (_, after) = rest.split_once(END).expect("the second marker");
    fs::write(&file, format!("{before}{BEGIN}\n{text}\n{END}{after}")).unwrap();
}
