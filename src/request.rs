// SPDX-License-Identifier: Apache-2.0
//! A request to prepare a bundle. The triggers (trigger/) build it; nothing after them knows or depends on
//! who called.

use crate::checkpoint::Checkpoint;
use crate::cli::{Format, Runtime};
use crate::mountpoints::plan::PlanOptions;
use crate::oci::bundle::Bundle;

/// What to prepare, and how.
#[derive(Debug)]
pub struct Request {
    /// The container's bundle.
    pub(crate) bundle: Bundle,
    /// The checkpoint; empty without a readable one.
    pub(crate) checkpoint: Checkpoint,
    /// What to do about missing mountpoints.
    pub mode: Mode,
    /// What makes the call fail.
    pub failing: Failing,
    /// Whether to report if CRIU would restore this checkpoint here.
    pub diagnose: bool,
    /// The runtime that will restore, if it is known.
    pub runtime: Option<Runtime>,
    /// Whether to do nothing if the checkpoint's mounts don't match the bundle's: only that shows whether
    /// both belong to the same container.
    pub must_fit: bool,
    /// What to plan.
    pub(crate) options: PlanOptions,
    /// Where the report goes.
    pub sink: Sink,
}

/// What to do about missing mountpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Report them without changing the host.
    Inspect,
    /// Create them.
    Create,
}

/// What makes a call fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Only what is sure to make CRIU fail: a restore that works without premount works with it. Unusable
    /// input is a warning.
    CriuFails,
    /// A mountpoint that can't be created.
    NotCreated,
    /// A missing mountpoint.
    Missing,
}

/// Where the report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// To the log, line by line.
    Log,
    /// To standard output.
    Stdout(View, Format),
}

/// What a report on standard output shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All mounts (`plan`).
    Plan,
    /// What was created (`apply`).
    Created,
    /// What is missing (`check`).
    Missing,
}
