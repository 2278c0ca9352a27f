// SPDX-License-Identifier: Apache-2.0
//! The trigger for OCI runtimes: a `createRuntime` hook (runtime-spec config.md, "POSIX-platform Hooks"),
//! with the state on standard input.

use nix::errno::Errno;
use tracing::debug;

use super::{caller, log_distrust, log_ignored_images, log_nothing_done, restore_request};
use crate::error::Error;
use crate::log::{self, TARGET};
use crate::oci::bundle::{Bundle, Refused};
use crate::oci::config::RESTORE_ANNOTATION;
use crate::oci::state::State;
use crate::request::Request;

/// The request of a runtime. None if there is nothing to do.
///
/// # Errors
///
/// Standard input is not a state, or names a bundle that doesn't exist.
pub fn request() -> Result<Option<Request>, Error> {
    let state = State::from_stream(std::io::stdin().lock())?;
    if let Some(id) = &state.id {
        log::note("container", id.as_bytes());
    }
    if state.restore.as_deref().is_some_and(|word| word != "true") {
        debug!(target: TARGET, "the state's annotation {RESTORE_ANNOTATION} is not \"true\"");
        return Ok(None);
    }
    let mut bundle = match Bundle::open_trusted_path(&state.bundle) {
        Ok(bundle) => bundle,
        Err(Refused::Distrusted(why)) => {
            log_distrust(&why);
            return Ok(None);
        }
        // No runtime passes the state of a bundle that doesn't exist.
        Err(Refused::Unreadable(error)) if is_missing(&error) => return Err(error),
        Err(Refused::Unreadable(error) | Refused::Invalid { error, .. }) => {
            log_nothing_done(&error);
            return Ok(None);
        }
    };
    let annotation = state.restore.as_ref().or(bundle.config.restore.as_ref());
    if annotation.is_none_or(|word| word != "true") {
        debug!(target: TARGET, "the annotation {RESTORE_ANNOTATION} is not \"true\"");
        return Ok(None);
    }
    // A first start has no checkpoint, so there is no failure of CRIU to predict: the runtime itself will
    // create the mountpoints or fail.
    let images = if state.is_first_start() {
        None
    } else {
        caller::images_of_hook(&bundle).unwrap_or_else(|why| {
            log_ignored_images(&why);
            None
        })
    };
    bundle.config.append = state.append.or(bundle.config.append);
    Ok(Some(restore_request(bundle, images, false)))
}

fn is_missing(error: &Error) -> bool {
    let missing = |errno| matches!(errno, Errno::ENOENT | Errno::ENOTDIR);
    matches!(error, Error::Unreadable { errno, .. } if missing(*errno))
}
