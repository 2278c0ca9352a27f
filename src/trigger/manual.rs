// SPDX-License-Identifier: Apache-2.0
//! The trigger for people and scripts: `plan`, `apply` and `check`. The caller vouches for the bundle, and
//! the report goes to standard output.

use std::ffi::OsStr;
use std::path::Path;

use super::alone;
use crate::checkpoint::{self, Checkpoint, ImageDirectory, MountImage, archive};
use crate::cli::{Manual, Runtime};
use crate::error::Error;
use crate::host;
use crate::mountpoints::budget::Budget;
use crate::mountpoints::plan::{Comparison, PlanOptions};
use crate::oci::bundle::Bundle;
use crate::oci::state::State;
use crate::request::{Failing, Mode, Request, Sink, View};

/// The request of the command line.
///
/// # Errors
///
/// The bundle, the state or the checkpoint is unusable, or there is none.
pub fn request(view: View, options: &Manual) -> Result<Request, Error> {
    let origin = &options.origin;
    let bundle = match (&origin.bundle, &origin.state) {
        (Some(bundle), _) => Some(Bundle::open(bundle)?),
        (None, Some(state)) => Some(Bundle::open(&State::read(state)?.bundle)?),
        (None, None) => None,
    };
    let mut checkpoint = checkpoint_of(options)?;
    let is_alone = bundle.is_none();
    let bundle = match (bundle, &options.checkpoint) {
        (Some(bundle), _) => bundle,
        (None, Some(name)) => alone::bundle(&mut checkpoint, name, &options.volumes)?,
        (None, None) => {
            let reason = "--bundle or --state is needed to find the configuration";
            return Err(Error::invalid(Path::new("--bundle"), "", reason));
        }
    };
    let (mode, failing) = match view {
        View::Plan => (Mode::Inspect, Failing::NotCreated),
        View::Created => (Mode::Create, Failing::NotCreated),
        View::Missing => (Mode::Inspect, Failing::Missing),
    };
    let runtime = options.runtime.or_else(|| runtime(&checkpoint));
    let is_told = |option| options.checkpoint.is_some() && host::criu_is_told(runtime, option);
    Ok(Request {
        runtime,
        bundle,
        checkpoint,
        options: PlanOptions {
            append: options.append,
            comparison: Comparison {
                of_rootfs: !is_alone,
                of_build_ids: !is_told("file-validation=filesize"),
                skips_permissions: is_told("skip-file-rwx-check"),
            },
            budget: Budget::of(options.max_inodes),
        },
        mode,
        failing,
        diagnose: options.checkpoint.is_some(),
        must_fit: false,
        sink: Sink::Stdout(view, options.format),
    })
}

/// The runtime that made a checkpoint, which has to be the one that restores it: as its engine says, or by what it
/// calls a mask. For runc all masked files are `/dev/null`; crun has a directory of its own for masked directories.
fn runtime(checkpoint: &Checkpoint) -> Option<Runtime> {
    let named = checkpoint.dump.runtime().map(Path::new);
    match named.and_then(Path::file_name).and_then(OsStr::to_str) {
        Some("runc") => return Some(Runtime::Runc),
        Some("crun") => return Some(Runtime::Crun),
        _ => {}
    }
    let mounts = &checkpoint.namespaces.first()?.mounts;
    if mounts.iter().any(MountImage::is_empty_directory) {
        return Some(Runtime::Crun);
    }
    let is_of_runc = |mount: &MountImage| mount.external.as_deref() == Some(b"/dev/null");
    mounts.iter().any(is_of_runc).then_some(Runtime::Runc)
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
