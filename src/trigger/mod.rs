// SPDX-License-Identifier: Apache-2.0
//! The triggers: each turns its caller's input into a [`Request`].
//!
//! [`hook`] and [`criu_script`] run during a restore: they log input that they can't read, don't trust or
//! don't understand, and don't fail.

mod alone;
mod caller;
pub mod criu_script;
pub mod hook;
pub mod manual;

use std::fmt::Display;

use tracing::warn;

use crate::checkpoint::{self, Checkpoint, ImageDirectory};
use crate::error::Error;
use crate::log::TARGET;
use crate::mountpoints::plan::PlanOptions;
use crate::oci::bundle::Bundle;
use crate::request::{Failing, Mode, Request, Sink};
use crate::trust::Distrust;

/// The request of a runtime or CRIU.
fn restore_request(bundle: Bundle, images: Option<ImageDirectory>, must_fit: bool) -> Request {
    Request {
        options: PlanOptions {
            append: bundle.config.append.as_deref() == Some("true"),
            ..PlanOptions::default()
        },
        bundle,
        checkpoint: images.map(checkpoint_in).unwrap_or_default(),
        mode: Mode::Create,
        failing: Failing::CriuFails,
        diagnose: false,
        runtime: None,
        must_fit,
        sink: Sink::Log,
    }
}

/// The checkpoint; empty if the images can't be read. CRIU will report that, and the configuration's mountpoints
/// are still created.
fn checkpoint_in(images: ImageDirectory) -> Checkpoint {
    checkpoint::read(images).unwrap_or_else(|error| {
        log_ignored_images(&error);
        Checkpoint::default()
    })
}

fn log_ignored_images(why: &dyn Display) {
    warn!(target: TARGET, "the checkpoint's mounts are not considered: {why}");
}

/// A configuration that premount can't use is no reason to fail a restore: the runtime has read it already,
/// and CRIU doesn't read it.
fn log_nothing_done(error: &Error) {
    warn!(target: TARGET, "nothing done: {error}");
}

fn log_distrust(why: &Distrust) {
    warn!(target: TARGET, "nothing done: the configuration can't be trusted: {why}");
}
