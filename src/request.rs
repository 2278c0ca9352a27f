// SPDX-License-Identifier: Apache-2.0
//! What premount is asked to prepare. Who asks is settled when this is built (trigger/):
//! nothing after it knows, or depends on it.

use crate::checkpoint::Namespace;
use crate::cli::Format;
use crate::mountpoints::budget::Budget;
use crate::oci::bundle::Bundle;

/// What to prepare, and how.
#[derive(Debug)]
pub struct Request {
    /// The container's bundle.
    pub(crate) bundle: Bundle,
    /// The mount namespaces of the checkpoint; empty if there is no checkpoint, or it can't be read.
    pub(crate) namespaces: Vec<Namespace>,
    /// What to do about missing mountpoints.
    pub mode: Mode,
    /// What makes the call fail.
    pub failing: Failing,
    /// Whether to tell if CRIU would restore this checkpoint here.
    pub diagnose: bool,
    /// Nothing but the checkpoint's mounts tells whether it is one of this bundle's container: do nothing if
    /// they don't fit.
    pub must_fit: bool,
    /// How much may be created.
    pub(crate) budget: Budget,
    /// Where the report goes.
    pub sink: Sink,
}

/// What to do about missing mountpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Report them; the host is not changed.
    Inspect,
    /// Create them.
    Create,
}

/// What makes a call fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Only what CRIU is sure to fail for: a restore that works without premount works with it. Input that
    /// can't be used is a warning.
    CriuFails,
    /// A mountpoint that can't be created.
    NotCreated,
    /// A mountpoint that isn't there.
    Missing,
}

/// Where the report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// To the log, as it comes.
    Log,
    /// To standard output, in one piece.
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
