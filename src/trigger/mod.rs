// SPDX-License-Identifier: Apache-2.0
//! The ways in: each turns what its caller provides into a [`Request`].
//!
//! The [`hook`] and the [`criu_script`] are in the path of a restore: whatever they can't read, don't trust or
//! don't understand is a line in the log and no failure.

mod caller;
pub mod criu_script;
pub mod hook;
pub mod manual;

use std::fmt::Display;

use tracing::warn;

use crate::checkpoint::{self, ImageDirectory, Namespace};
use crate::error::Error;
use crate::log::TARGET;
use crate::mountpoints::budget::Budget;
use crate::oci::bundle::Bundle;
use crate::request::{Failing, Mode, Request, Sink};
use crate::trust::Distrust;

/// The request of a runtime or of CRIU.
fn in_a_restore(bundle: Bundle, images: Option<ImageDirectory>, must_fit: bool) -> Request {
    Request {
        bundle,
        namespaces: images
            .map(|images| namespaces_in(&images))
            .unwrap_or_default(),
        mode: Mode::Create,
        failing: Failing::CriuFails,
        diagnose: false,
        must_fit,
        budget: Budget::default(),
        sink: Sink::Log,
    }
}

/// The mount namespaces of the checkpoint. Images that can't be read are CRIU's to complain about: what the
/// configuration needs is created all the same.
fn namespaces_in(images: &ImageDirectory) -> Vec<Namespace> {
    checkpoint::read(images).unwrap_or_else(|error| {
        log_not_considered(&error);
        Vec::new()
    })
}

fn log_not_considered(why: &dyn Display) {
    warn!(target: TARGET, "the checkpoint's mounts are not considered: {why}");
}

/// The runtime has read the configuration, and CRIU doesn't: what premount can't make of it is no reason for
/// either to fail.
fn log_nothing_done(error: &Error) {
    warn!(target: TARGET, "nothing done: {error}");
}

fn log_distrust(why: &Distrust) {
    warn!(target: TARGET, "nothing done: the configuration can't be trusted: {why}");
}
