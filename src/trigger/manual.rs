// SPDX-License-Identifier: Apache-2.0
//! The trigger for people and scripts: `plan`, `apply` and `check`. The caller vouches for the bundle, and
//! the report goes to standard output.

use crate::checkpoint::{self, Checkpoint, ImageDirectory, archive};
use crate::cli::Manual;
use crate::error::Error;
use crate::mountpoints::budget::Budget;
use crate::mountpoints::plan::PlanOptions;
use crate::oci::bundle::Bundle;
use crate::oci::state::State;
use crate::request::{Failing, Mode, Request, Sink, View};

/// The request of the command line. None without a bundle.
///
/// # Errors
///
/// The bundle, the state or the checkpoint is unusable.
pub fn request(view: View, options: &Manual) -> Result<Option<Request>, Error> {
    let origin = &options.origin;
    let bundle = match (&origin.bundle, &origin.state) {
        (Some(bundle), _) => Bundle::open(bundle)?,
        (None, Some(state)) => Bundle::open(&State::read(state)?.bundle)?,
        (None, None) => return Ok(None),
    };
    let (mode, failing) = match view {
        View::Plan => (Mode::Inspect, Failing::NotCreated),
        View::Created => (Mode::Create, Failing::NotCreated),
        View::Missing => (Mode::Inspect, Failing::Missing),
    };
    Ok(Some(Request {
        bundle,
        checkpoint: checkpoint_of(options)?,
        options: PlanOptions {
            append: options.append,
            compare_rootfs: true,
            budget: Budget::of(options.max_inodes),
        },
        mode,
        failing,
        diagnose: options.checkpoint.is_some(),
        runtime: options.runtime,
        must_fit: false,
        sink: Sink::Stdout(view, options.format),
    }))
}

fn checkpoint_of(options: &Manual) -> Result<Checkpoint, Error> {
    if let Some(checkpoint) = &options.checkpoint {
        return archive::read(checkpoint);
    }
    let Some(directory) = &options.images else {
        return Ok(Checkpoint::default());
    };
    let checkpoint = checkpoint::read(ImageDirectory::open(directory)?)?;
    if checkpoint.namespaces.is_empty() {
        let reason = "contains no mountpoints-*.img: not a CRIU image directory";
        return Err(Error::invalid(directory, "", reason));
    }
    Ok(checkpoint)
}
