// SPDX-License-Identifier: Apache-2.0
//! premount prepares a host for a container restore: it creates the mountpoints that nested mounts need
//! inside bind sources on the host, and that CRIU expects to exist (opencontainers/runc issue 2748).
//!
//! It creates only what the container, or its runtime at first start, could have created itself.
//!
//! Data flows one way. A trigger turns its caller's input into a [`Request`]; [`prepare`] plans the missing
//! mountpoints, creates them, and returns a [`Report`], which goes to the log or to standard output. See
//! docs/architecture.md.
//!
//! ```
//! use premount::{Invocation, View, cli, run};
//!
//! // What `premount check --bundle /nowhere` does.
//! let options = cli::Manual {
//!     origin: cli::Origin {
//!         bundle: Some("/nowhere".into()),
//!         state: None,
//!     },
//!     images: None,
//!     checkpoint: None,
//!     volumes: Vec::new(),
//!     runtime: None,
//!     append: false,
//!     max_inodes: None,
//!     format: cli::Format::Text,
//! };
//! let outcome = run(
//!     &Invocation::Manual(View::Missing, &options),
//!     &cli::Logging::default(),
//! );
//! assert_eq!(outcome.status, 2); // Unusable input.
//! ```

mod checkpoint;
pub mod cli;
mod diagnosis;
mod error;
mod escape;
mod explain;
mod host;
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

/// For premount's own tests, benchmarks and fuzz targets: not part of the public interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::checkpoint::{
        Checkpoint, MountImage, Namespace, OpenFile, OpenFiles, OpenKind, archive, parse,
        parse_named,
    };
    pub use crate::escape::{Escaped, Quoted};
    pub use crate::explain::{known_by, known_patterns, of_text};
    pub use crate::mountpoints::budget::Budget;
    pub use crate::mountpoints::create::create;
    pub use crate::mountpoints::failure::Cause;
    pub use crate::mountpoints::plan::{Plan, PlanOptions, Status};
    pub use crate::mountpoints::required::{ConfigMount, KindBy, Parent, compare};
    pub use crate::node::criu::action_scripts;
    pub use crate::oci::config::{self, Config};
    pub use crate::oci::json;
    pub use crate::oci::owner::Owner;
    pub use crate::oci::state::State;
    pub use crate::path::{Name, RelPath, RelRef};
    pub use crate::report::verdict_text;
    pub use crate::sys::{MountpointKind, close_inherited, do_without_openat2};
}

use checkpoint::OpenFiles;
use diagnosis::{OfHost, fits, needs_of_host, of_host};
use log::TARGET;
use mountpoints::create::create;
use mountpoints::plan::Plan;
use oci::bundle::Bundle;
use tracing::warn;

/// Plans the missing mountpoints of a container, and creates them in [`Mode::Create`].
///
/// # Errors
///
/// The rootfs is unusable, or the checkpoint belongs to another container. Nothing has been created.
pub fn prepare(request: Request) -> Result<Report, Error> {
    let Bundle {
        directory, config, ..
    } = request.bundle;
    log::note("bundle", directory.as_os_str().as_encoded_bytes());
    let (owner, externals, network) = (
        config.owner.clone(),
        config.externals.clone(),
        config.network,
    );
    let checkpoint = request.checkpoint;
    if let OpenFiles::Unusable(error) = &checkpoint.files {
        warn!(target: TARGET, "what the checkpoint's tasks hold open is not considered: {error}");
    }
    let mut plan = Plan::new(config, &checkpoint, request.options)?;
    if request.must_fit && !fits(&plan, &checkpoint.namespaces, &externals) {
        return Err(Error::OtherContainer { bundle: directory });
    }
    if request.mode == Mode::Create {
        create(&mut plan, &owner);
    }
    let host = match (request.diagnose, request.failing) {
        (true, _) => of_host(&checkpoint, network, request.runtime, true),
        (false, Failing::CriuFails) => of_host(&checkpoint, network, request.runtime, false),
        (false, _) => OfHost::default(),
    };
    let needs_of_host = if plan.is_alone() {
        needs_of_host(&checkpoint)
    } else {
        Vec::new()
    };
    Ok(Report {
        bundle: directory,
        plan,
        namespaces: checkpoint.namespaces,
        externals,
        failing: request.failing,
        host: host.findings,
        needs_of_host,
        diagnosed: request.diagnose,
        runtime: request.runtime,
        ignores_images: host.is_partial || matches!(checkpoint.files, OpenFiles::Unusable(_)),
    })
}
