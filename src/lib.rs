// SPDX-License-Identifier: Apache-2.0
//! premount prepares a host for a container restore: it makes the mountpoints that the container's
//! nested mounts need inside bind sources of the host's, which CRIU expects to be there
//! (opencontainers/runc issue 2748).
//!
//! It makes only what the container, or its runtime at first start, could have made itself.
//!
//! Data goes one way: the call leads to a [`bundle`], its [`config`] has the mounts, [`planner`]
//! follows each ([`walk`]) through the [`tree`] to its mountpoint in one of the [`hosts`], and adds what
//! the [`checkpoint`] needs beyond that (from its [`images`]), [`mod@create`] makes
//! what is missing, [`report`] says it.

pub mod action;
pub mod archive;
pub mod budget;
pub mod bundle;
pub mod by_hand;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod create;
pub mod error;
pub mod escape;
pub mod findings;
mod followed;
pub mod hosts;
pub mod images;
pub mod input;
pub mod json;
pub mod kernel_fs;
pub mod log;
pub mod mount;
pub mod names;
pub mod node;
pub mod owner;
pub mod path;
pub mod plan;
pub mod planner;
pub mod procfs;
pub mod report;
pub mod restore;
pub mod sys;
pub mod tree;
pub mod trust;
pub mod walk;

use std::ffi::OsStr;
use std::path::Path;

use cli::ByHand;
use error::{Error, Failure};

/// What premount is asked to do.
#[derive(Debug)]
pub enum Call<'a> {
    /// To prepare the host for a restore.
    Prepare(Trigger<'a>),
    /// To put premount on a node.
    Install(&'a cli::Install),
    /// To take it off.
    Uninstall(&'a cli::Uninstall),
    /// To say what it is worth there.
    Status(&'a cli::Status),
}

/// How premount is called for a restore.
#[derive(Debug)]
pub enum Trigger<'a> {
    /// As an OCI hook, the state on standard input.
    Hook,
    /// As CRIU's action script.
    Action {
        /// `CRTOOLS_SCRIPT_ACTION`.
        stage: &'a OsStr,
        /// `CRTOOLS_IMAGE_DIR`.
        images: Option<&'a Path>,
    },
    /// By a person or a script.
    ByHand {
        /// What to do.
        task: Task,
        /// Where the configuration is, and how to report.
        options: &'a ByHand,
    },
}

/// What to do by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Show everything.
    Plan,
    /// Make what is missing.
    Apply,
    /// Say what is missing.
    Check,
}

/// How it ended.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What failed, mount by mount.
    pub failures: Vec<Failure>,
    /// What failed where CRIU may get by without.
    pub doubts: Vec<Failure>,
    /// Something is missing that was only looked for.
    pub missing: bool,
    /// All of it was done, and could not be told.
    pub untold: Option<Error>,
}

impl Verdict {
    /// The exit status: 0 or 1.
    pub fn status(&self) -> u8 {
        u8::from(self.missing || self.untold.is_some() || !self.failures.is_empty())
    }
}

/// Does what is asked, from the call to the report. Descriptors that it inherited are the caller's to
/// close ([`sys::close_inherited`]).
pub fn run(call: &Call) -> Result<Verdict, Error> {
    match call {
        Call::Prepare(Trigger::Hook) => restore::as_hook(),
        Call::Prepare(Trigger::Action { stage, images }) => Ok(restore::as_action(stage, *images)),
        Call::Prepare(Trigger::ByHand { task, options }) => by_hand::run(*task, options),
        Call::Install(options) => node::install(options),
        Call::Uninstall(options) => node::uninstall(options),
        Call::Status(options) => node::status(options),
    }
}
