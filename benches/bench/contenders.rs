// SPDX-License-Identifier: Apache-2.0
//! The programs to measure and their inputs.

use std::rc::Rc;

use crate::common;
use crate::common::cost_input::CostInput;
use crate::count::Call;
use crate::measure::{Programs, baseline};

/// A call to measure repeatedly.
pub struct Contender {
    /// The name in the table and the targets.
    pub name: &'static str,
    pub call: Call,
    /// The number of mounts, for the time per mount.
    pub mounts: Option<u32>,
    /// Runs in every `every`th round.
    pub every: u32,
    /// What is measured besides time.
    pub counted: Counted,
    /// The input.
    input: Option<Rc<CostInput>>,
    /// Whether it creates the mountpoints: they are then removed before each call.
    creates: bool,
}

/// What is measured besides time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// System calls, instructions and memory.
    All,
    /// All but instructions: for scripts, which are several processes or run in an interpreter.
    NoInstructions,
}

pub const FLOOR: &str = "a static C program that does nothing: the floor";
pub const FLOOR_RUST: &str = "a static Rust program that does nothing";
pub const IDLE: &str = "premount, a stage with nothing to do";
pub const POD_THERE: &str = "premount hook, pod, all there";
pub const POD_MISSING: &str = "premount hook, pod, 4 to create";
pub const ACTION_MISSING: &str = "premount action script, pod, 4 to create";
pub const ACTION_THERE: &str = "premount action script, pod, all there";
pub const BASH_THERE: &str = "bash + jq + mkdir hook, pod, all there";
pub const BASH_MISSING: &str = "bash + jq + mkdir hook, pod, 4 to create";
pub const PYTHON_MISSING: &str = "Python hook, pod, 4 to create";
pub const NESTED_100: &str = "premount hook, 100 nested mounts to create";
pub const NESTED_1000: &str = "premount hook, 1,000 nested mounts to create";
pub const NESTED_10000: &str = "premount hook, 10,000 nested mounts to create";
pub const THERE_1000: &str = "premount hook, 1,000 nested mounts, all there";
pub const THERE_10000: &str = "premount hook, 10,000 nested mounts, all there";
pub const DEEP: &str = "premount hook, a path of 64 components to create";
pub const CROWDED: &str = "premount hook, 5,000 entries in the source";
pub const WORKLOAD: &str = "premount hook, images with 9,000 mounts to create";

/// Small contenders run in every round, slow and big ones in fewer.
const SMALL: u32 = 1;
const SLOW: u32 = 5;
const BIG: u32 = 10;
/// The number of rounds.
pub const ROUNDS: u32 = 500;

impl Contender {
    fn new(name: &'static str, every: u32, call: Call) -> Self {
        Self {
            name,
            call,
            mounts: None,
            every,
            counted: Counted::All,
            input: None,
            creates: false,
        }
    }

    /// Uses an input where nothing is missing; not shared with a contender that removes anything.
    fn there(mut self, input: &Rc<CostInput>) -> Self {
        self.call.run();
        self.input = Some(Rc::clone(input));
        self
    }

    fn missing(mut self, input: &Rc<CostInput>) -> Self {
        self.input = Some(Rc::clone(input));
        self.creates = true;
        self
    }

    fn mounts(mut self, mounts: u32) -> Self {
        self.mounts = Some(mounts);
        self
    }

    fn without_instructions(mut self) -> Self {
        self.counted = Counted::NoInstructions;
        self
    }

    /// The input, if it creates anything there.
    fn incomplete_input(&self) -> Option<&CostInput> {
        self.input.as_deref().filter(|_| self.creates)
    }

    /// Prepares the input for a call.
    pub fn prepare(&self) {
        if let Some(input) = self.incomplete_input() {
            input.remove_made();
        }
    }

    /// Checks that it creates the same as premount.
    pub fn verify(&self) {
        let Some(input) = self.incomplete_input() else {
            return;
        };
        self.prepare();
        self.call.run();
        let created = input.found();
        self.prepare();
        assert!(input.found().is_empty(), "{}: nothing to create", self.name);
        let images = input.images();
        let bundle = input.world.bundle();
        let mut apply = vec!["apply", "--bundle", &bundle];
        if images.is_dir() {
            apply.extend(["--images", images.to_str().unwrap()]);
        }
        let applied = common::premount(&apply, b"", &[]);
        assert_eq!(applied.status, 0, "{}: {applied:?}", self.name);
        assert_eq!(created, input.found(), "{}", self.name);
    }
}

/// All contenders, the floor first.
pub fn all(programs: &Programs) -> Vec<Contender> {
    let premount = programs.premount.as_path();
    let pod_there = Rc::new(CostInput::pod());
    let pod = Rc::new(CostInput::pod());
    let [bash, python] = ["hook.sh", "hook.py"].map(baseline);
    let mut all = vec![
        Contender::new(FLOOR, SMALL, Call::of(&programs.floor)),
        Contender::new(FLOOR_RUST, SMALL, Call::of(&programs.floor_rust)),
        Contender::new(IDLE, SMALL, Call::idle(premount)),
        Contender::new(POD_THERE, SMALL, Call::hook(premount, &pod_there)).there(&pod_there),
        Contender::new(POD_MISSING, SMALL, Call::hook(premount, &pod)).missing(&pod),
        Contender::new(ACTION_THERE, SMALL, Call::action(premount, &pod_there)).there(&pod_there),
        Contender::new(ACTION_MISSING, SMALL, Call::action(premount, &pod)).missing(&pod),
        Contender::new(BASH_THERE, SLOW, Call::hook(&bash, &pod_there))
            .there(&pod_there)
            .without_instructions(),
        Contender::new(BASH_MISSING, SLOW, Call::hook(&bash, &pod))
            .missing(&pod)
            .without_instructions(),
        Contender::new(PYTHON_MISSING, SLOW, Call::hook(&python, &pod))
            .missing(&pod)
            .without_instructions(),
    ];
    for (name, count, every) in [
        (NESTED_100, 100, SMALL),
        (NESTED_1000, 1000, SLOW),
        (NESTED_10000, 10_000, BIG),
    ] {
        let input = Rc::new(CostInput::nested(count as usize));
        let contender = Contender::new(name, every, Call::hook(premount, &input));
        all.push(contender.missing(&input).mounts(count));
    }
    for (name, count, every) in [(THERE_1000, 1000, SLOW), (THERE_10000, 10_000, BIG)] {
        let input = Rc::new(CostInput::nested(count as usize));
        let contender = Contender::new(name, every, Call::hook(premount, &input));
        all.push(contender.there(&input).mounts(count));
    }
    for (name, input, every, mounts) in [
        (DEEP, CostInput::deep(), SLOW, None),
        (CROWDED, CostInput::crowded(), SLOW, None),
        (WORKLOAD, CostInput::workload(9_000), BIG, Some(9_000)),
    ] {
        let input = Rc::new(input);
        let mut contender = Contender::new(name, every, Call::hook(premount, &input));
        contender.mounts = mounts;
        all.push(contender.missing(&input));
    }
    all
}
