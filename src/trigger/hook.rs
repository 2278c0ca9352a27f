// SPDX-License-Identifier: Apache-2.0
//! The way in from an OCI runtime: a `createRuntime` hook (runtime-spec config.md, "POSIX-platform Hooks"), with
//! the state on standard input.

use nix::errno::Errno;
use tracing::debug;

use super::{caller, in_a_restore, log_distrust, log_not_considered, log_nothing_done};
use crate::error::Error;
use crate::log::{self, TARGET};
use crate::oci::bundle::{Bundle, Refused};
use crate::oci::config::RESTORE_ANNOTATION;
use crate::oci::state::State;
use crate::request::Request;

/// What the hook is asked to prepare; none if there is nothing to do.
///
/// # Errors
///
/// Standard input is not a state, or names a bundle that isn't there.
pub fn request() -> Result<Option<Request>, Error> {
    let state = State::from_stream(std::io::stdin().lock())?;
    if let Some(id) = &state.id {
        log::note("container", id.as_bytes());
    }
    if state.restore.as_deref().is_some_and(|word| word != "true") {
        debug!(target: TARGET, "the annotation {RESTORE_ANNOTATION} is not \"true\"");
        return Ok(None);
    }
    let bundle = match Bundle::open_trusted_path(&state.bundle) {
        Ok(bundle) => bundle,
        Err(Refused::Distrusted(why)) => {
            log_distrust(&why);
            return Ok(None);
        }
        // The state is wrong, and no runtime's.
        Err(Refused::Unreadable(error)) if is_missing(&error) => return Err(error),
        Err(Refused::Unreadable(error) | Refused::Invalid { error, .. }) => {
            log_nothing_done(&error);
            return Ok(None);
        }
    };
    let annotation = state.restore.as_ref().or(bundle.config.restore.as_ref());
    if annotation.is_none_or(|word| word != "true") {
        debug!(target: TARGET, "no annotation {RESTORE_ANNOTATION} is \"true\"");
        return Ok(None);
    }
    // At the first start there is no checkpoint: no failure can be one of CRIU's, and the runtime is about to
    // judge all of this itself.
    let images = if state.is_first_start() {
        None
    } else {
        caller::images_of_hook(&bundle).unwrap_or_else(|why| {
            log_not_considered(&why);
            None
        })
    };
    Ok(Some(in_a_restore(bundle, images, false)))
}

fn is_missing(error: &Error) -> bool {
    let missing = |errno| matches!(errno, Errno::ENOENT | Errno::ENOTDIR);
    matches!(error, Error::Unreadable { errno, .. } if missing(*errno))
}
