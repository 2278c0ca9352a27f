// SPDX-License-Identifier: Apache-2.0
//! What premount costs may not grow unseen: counts of the static release build that depend on no
//! machine's speed. `make test` builds it, and says where it is; `make bench` measures times.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::print_stderr)]

mod common;
#[path = "../benches/bench/count.rs"]
mod count;

use std::fs;
use std::path::{Path, PathBuf};

use common::World;
use common::cost_input::CostInput;
use count::{Call, instructions, system_calls};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};

/// The variable that says where the static release build is.
const RELEASE: &str = "PREMOUNT_RELEASE_BINARY";

/// Most bytes of the program.
const SIZE: u64 = 3 << 20;

/// What one call may cost.
struct CallBudget {
    /// From execve to exit. Some 30 of them are of the C library and of Rust's start.
    system_calls: u64,
    /// As measured with Rust 1.95 and glibc 2.36.
    instructions: u64,
}

const IDLE: CallBudget = CallBudget {
    system_calls: 34,
    instructions: 63_000,
};
const POD_THERE: CallBudget = CallBudget {
    system_calls: 118,
    instructions: 1_355_000,
};
const POD_MISSING: CallBudget = CallBudget {
    system_calls: 135,
    instructions: 1_425_000,
};
/// 1,000 nested mounts that need nothing.
const THOUSAND_THERE: CallBudget = CallBudget {
    system_calls: 2084,
    instructions: 14_050_000,
};

/// How many more system calls than budgeted are no failure: another C library starts otherwise, and
/// longer paths take more reads.
const CALLS_MARGIN: u64 = 5;

/// How many percent more instructions than budgeted are no failure: another compiler or C library, other
/// lengths of temporary paths, and the random seeds of hash maps count differently.
const MARGIN: u64 = 15;

/// A test, of the release build.
type CostTest = fn(&Path) -> Result<(), String>;

fn main() {
    // premount closes what it inherits, and that would count.
    premount::internals::close_inherited();
    let arguments = Arguments::from_args();
    let release = std::env::var_os(RELEASE).map(PathBuf::from);
    if release.is_none() {
        eprintln!(
            "skipped: the costs of the release build: {RELEASE} is not set (make test sets it)"
        );
    }
    let tests: [(&str, CostTest); 7] = [
        ("the_program_stays_small", size),
        ("a_stage_with_nothing_to_do_stays_cheap", idle),
        ("a_pod_that_needs_nothing_stays_cheap", pod_there),
        ("a_pod_that_needs_four_directories_stays_cheap", pod_missing),
        ("a_thousand_mounts_that_need_nothing_stay_cheap", thousand),
        ("four_times_the_mounts_cost_four_times_as_much", growth),
        ("mounts_in_any_order_cost_the_same", any_order),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        let release = release.clone();
        let ignored = release.is_none();
        Trial::test(name, move || {
            let release = release.ok_or(format!("{RELEASE} is not set"))?;
            if !release.is_file() {
                let built = "`make` builds it";
                return Err(format!("{}: no release build: {built}", release.display()).into());
            }
            test(&release).map_err(Into::into)
        })
        .with_ignored_flag(ignored)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn size(release: &Path) -> Result<(), String> {
    let size = release.metadata().unwrap().len();
    within("bytes", size, SIZE)
}

fn idle(release: &Path) -> Result<(), String> {
    check(&Call::idle(release), &IDLE, || {})
}

fn pod_there(release: &Path) -> Result<(), String> {
    let pod = CostInput::pod();
    let call = Call::hook(release, &pod);
    call.run();
    check(&call, &POD_THERE, || {})
}

fn pod_missing(release: &Path) -> Result<(), String> {
    let pod = CostInput::pod();
    check(&Call::hook(release, &pod), &POD_MISSING, || {
        pod.remove_made();
    })?;
    let made = pod.found();
    assert_eq!(made.len(), 4, "{made:?}");
    Ok(())
}

fn thousand(release: &Path) -> Result<(), String> {
    let input = CostInput::nested(1000);
    let call = Call::hook(release, &input);
    call.run();
    check(&call, &THOUSAND_THERE, || {})
}

/// Shapes of configurations whose cost could grow faster than they do, with so many mounts.
type Shape = fn(&World, usize) -> Vec<Value>;
const SHAPES: [(&str, Shape); 9] = [
    ("stacked", |_, count| vec![tmpfs("/a", &[]); count]),
    ("stacked copies", |_, count| {
        vec![tmpfs("/a", &["tmpcopyup"]); count]
    }),
    ("copies with mounts in them", |_, count| {
        let pair = |index| {
            let nested = format!("/a/{index}");
            [tmpfs("/a", &["tmpcopyup"]), tmpfs(&nested, &[])]
        };
        (0..count / 2).flat_map(pair).collect()
    }),
    ("copies of binds", |world, count| {
        let pair = |_| [tmpfs("/a", &["tmpcopyup"]), bind("/a", world, "vol")];
        (0..count / 2).flat_map(pair).collect()
    }),
    ("in a lost mount", |world, count| {
        let lost = bind("/lost", world, "gone");
        let nested = (1..count).map(|index| tmpfs(&format!("/lost/{index}"), &[]));
        std::iter::once(lost).chain(nested).collect()
    }),
    // By their names before and after what is found.
    ("between lost mounts", |world, count| {
        let lost = |at: &str| {
            let nested = |index| tmpfs(&format!("{at}/{index}"), &[]);
            let broken = std::iter::once(bind(at, world, "gone"));
            broken.chain((1..count / 4).map(nested)).collect()
        };
        let found = (0..count / 2).map(|index| tmpfs(&format!("/a{index}"), &[]));
        [lost("/0"), lost("/z"), found.collect::<Vec<_>>()].concat()
    }),
    ("behind links", |world, count| {
        world.directory("bundle/rootfs/real");
        for index in 0..30 {
            let text = "real/../".repeat(30) + &format!("l{}", index + 1);
            world.link(&format!("bundle/rootfs/l{index}"), &text);
        }
        world.link("bundle/rootfs/l30", "/real");
        let nested = (0..count).map(|index| tmpfs(&format!("/l0/{index}"), &[]));
        nested.collect()
    }),
    ("deep", |world, count| {
        let data = bind("/data", world, "vol");
        let deep = "/d".repeat(500);
        let nested = (0..count / 20).map(|index| tmpfs(&format!("/data/{index}{deep}"), &[]));
        std::iter::once(data).chain(nested).collect()
    }),
    ("deep in a tmpfs", |_, count| {
        let deep = "/d".repeat(500);
        let nested = (0..count / 20).map(|index| tmpfs(&format!("/data/{index}{deep}"), &[]));
        std::iter::once(tmpfs("/data", &[])).chain(nested).collect()
    }),
];

fn tmpfs(at: &str, options: &[&str]) -> Value {
    json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options})
}

fn bind(at: &str, world: &World, source: &str) -> Value {
    let source = world.path(source);
    json!({"destination": at, "type": "bind", "source": source, "options": ["bind"]})
}

/// What is the same for each call counts for the smaller one: a linear cost stays below four times.
fn growth(release: &Path) -> Result<(), String> {
    let count = |shape: Shape, count: usize| {
        let world = World::new();
        world.directory("vol");
        let mounts = shape(&world, count);
        world.write_config(
            &json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": mounts}),
        );
        fs::write(world.path("state.json"), world.state()).unwrap();
        instructions(&Call::hook_in(release, &world))
    };
    let mut failures = Vec::new();
    for (name, shape) in SHAPES {
        let (few, many) = (count(shape, 400)?, count(shape, 1600)?);
        if many > few * 9 / 2 {
            failures.push(format!(
                "{name}: {few} instructions, and {many} for four times the mounts"
            ));
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(failures.join("; "))
}

/// 10,000 mounts in a hundred directories, in the order of their paths and from one directory to the next: once
/// with nothing there, once with the directories there, and once with everything there.
fn any_order(release: &Path) -> Result<(), String> {
    let count = |alternate: bool| {
        let world = World::new();
        world.directory("vol");
        let nested = |index: usize| {
            let (group, member) = if alternate {
                (index % 100, index / 100)
            } else {
                (index / 100, index % 100)
            };
            tmpfs(&format!("/data/g{group}/m{member}"), &[])
        };
        let nested = (0..10_000).map(nested);
        let mounts: Vec<Value> = std::iter::once(bind("/data", &world, "vol"))
            .chain(nested)
            .collect();
        world.write_config(
            &json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": mounts}),
        );
        fs::write(world.path("state.json"), world.state()).unwrap();
        let call = Call::hook_in(release, &world);
        let all_missing = system_calls(&call)?;
        let all_there = system_calls(&call)?;
        for group in 0..100 {
            for member in 0..100 {
                fs::remove_dir(world.path(&format!("vol/g{group}/m{member}"))).unwrap();
            }
        }
        let made = system_calls(&call)?;
        assert_eq!(world.tree("vol").len(), 10_100);
        Ok::<_, String>([all_missing, all_there, made])
    };
    let (ordered, alternating) = (count(false)?, count(true)?);
    for (ordered, alternating) in ordered.into_iter().zip(alternating) {
        within("system calls", alternating, ordered * 11 / 10)?;
    }
    Ok(())
}

/// Counts a call, each time after `before`, and compares with its budget.
fn check(call: &Call, budget: &CallBudget, before: impl Fn()) -> Result<(), String> {
    before();
    let calls = within(
        "system calls",
        system_calls(call)?,
        budget.system_calls + CALLS_MARGIN,
    );
    before();
    let most = budget.instructions * (100 + MARGIN) / 100;
    let instructions = within("instructions", instructions(call)?, most);
    match (calls, instructions) {
        (Err(one), Err(other)) => Err(format!("{one}; {other}")),
        (one, other) => one.and(other),
    }
}

fn within(what: &str, count: u64, most: u64) -> Result<(), String> {
    if count > most {
        return Err(format!("{count} {what}, and at most {most} are budgeted"));
    }
    Ok(())
}
