// SPDX-License-Identifier: Apache-2.0
//! premount prepares a host for a container restore: it creates the mountpoints that the container's nested
//! mounts need inside bind sources of the host, which CRIU expects to be there (opencontainers/runc issue
//! 2748).
//!
//! It creates only what the container, or its runtime at first start, could have created itself.
//!
//! Data goes one way. A [`trigger`] turns what its caller provides into a [`Request`]; [`prepare`] plans what
//! is missing ([`mountpoints`]), creates it, and returns a [`Report`], which goes to the log or to standard
//! output. docs/architecture.md has the whole picture.

mod checkpoint;
pub mod cli;
mod error;
mod escape;
mod input;
mod log;
mod mountpoints;
mod node;
mod oci;
mod output;
mod path;
mod report;
mod request;
mod run;
mod sys;
mod trigger;
mod trust;

pub use error::Error;
pub use report::Report;
pub use request::{Failing, Mode, Request, Sink, View};
pub use run::{Invocation, Outcome, run};
pub use trigger::criu_script::{IMAGE_DIRECTORY_VARIABLE, STAGE_VARIABLE, is_before_restore};

/// For premount's own tests, benchmarks and fuzz targets: not part of the interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::checkpoint::{MountImage, Namespace, archive, parse};
    pub use crate::escape::{Escaped, Quoted};
    pub use crate::mountpoints::budget::Budget;
    pub use crate::mountpoints::create::create;
    pub use crate::mountpoints::failure::Cause;
    pub use crate::mountpoints::plan::{Plan, Status};
    pub use crate::mountpoints::required::{
        ConfigMount, InCheckpoint, Inside, KindBy, Parent, compare,
    };
    pub use crate::node::criu::action_scripts;
    pub use crate::oci::config::{self, Config};
    pub use crate::oci::json;
    pub use crate::oci::owner::Owner;
    pub use crate::oci::state::State;
    pub use crate::path::{Name, NotAPath, RelPath, RelRef};
    pub use crate::sys::{MountpointKind, close_inherited, do_without_openat2};
}

use mountpoints::create::create;
use mountpoints::diagnosis::fits;
use mountpoints::plan::Plan;
use oci::bundle::Bundle;

/// Plans what a container's mounts lack, and creates it if that is asked for.
///
/// # Errors
///
/// The rootfs can't be used, or the checkpoint isn't that of the container. Nothing was created then.
pub fn prepare(request: Request) -> Result<Report, Error> {
    let Bundle {
        directory, config, ..
    } = request.bundle;
    log::note("bundle", directory.as_os_str().as_encoded_bytes());
    let (owner, externals) = (config.owner.clone(), config.externals.clone());
    let mut plan = Plan::new(config, &request.namespaces, request.budget)?;
    if request.must_fit && !fits(&plan, &request.namespaces, &externals) {
        return Err(Error::OtherContainer { bundle: directory });
    }
    if request.mode == Mode::Create {
        create(&mut plan, &owner);
    }
    Ok(Report {
        bundle: directory,
        plan,
        namespaces: request.namespaces,
        externals,
        failing: request.failing,
        diagnosed: request.diagnose,
    })
}
