// SPDX-License-Identifier: Apache-2.0
//! The trigger for CRIU: its action script (criu(8), `--action-script`). CRIU passes neither the bundle nor
//! the container's name: both come from the runtime that called it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tracing::info;

use super::caller::{self, criu, directories_of_runtime};
use super::{log_distrust, log_ignored_images, log_nothing_done, restore_request};
use crate::checkpoint::ImageDirectory;
use crate::error::Error;
use crate::log::{self, TARGET};
use crate::oci::bundle::{Bundle, Refused};
use crate::oci::config::RESTORE_ANNOTATION;
use crate::request::Request;
use crate::sys;
use crate::trust::Distrust;

/// The environment variable with the stage.
pub const STAGE_VARIABLE: &str = "CRTOOLS_SCRIPT_ACTION";
/// The environment variable with the image directory, as CRIU's `/proc/PID/fd/N`.
pub const IMAGE_DIRECTORY_VARIABLE: &str = "CRTOOLS_IMAGE_DIR";

/// Whether this is the stage before CRIU mounts, when the mountpoints have to be created.
pub fn is_before_restore(stage: &OsStr) -> bool {
    stage == "pre-restore"
}

/// The request of CRIU. None if there is nothing to do. `images` is the image directory.
pub fn request(stage: &OsStr, images: Option<&Path>) -> Option<Request> {
    if !is_before_restore(stage) {
        return None;
    }
    if log::has_fields() {
        let id = caller::container_of(images);
        log::note("container", &id.unwrap_or_default());
    }
    let (bundle, must_fit) = match find_bundle(images) {
        Ok(Found::OfRuntime(bundle)) => (bundle, false),
        Ok(Found::BesideImages(bundle)) => (bundle, true),
        Err(NotFound::Nothing) => {
            info!(target: TARGET, "no OCI configuration found for what CRIU restores: nothing to do");
            return None;
        }
        Err(NotFound::Distrusted(why)) => {
            log_distrust(&why);
            return None;
        }
        Err(NotFound::Unusable(error)) => {
            log_nothing_done(&error);
            return None;
        }
    };
    if bundle.config.restore.as_deref() == Some("false") {
        info!(target: TARGET, "the annotation {RESTORE_ANNOTATION} is \"false\": nothing done");
        return None;
    }
    let images = images.map(ImageDirectory::open).transpose();
    let images = images.unwrap_or_else(|error| {
        log_ignored_images(&error);
        None
    });
    Some(restore_request(bundle, images, must_fit))
}

/// Where the configuration was found.
#[derive(Debug)]
enum Found {
    /// In the runtime's current directory or on its command line: it belongs to the container being restored.
    OfRuntime(Bundle),
    /// Beside the images (Podman, CRI-O). It belongs to the container if its mounts match the images.
    BesideImages(Bundle),
}

/// Why no configuration is used.
#[derive(Debug)]
enum NotFound {
    /// There is none: CRIU isn't restoring an OCI container.
    Nothing,
    /// Another user may have put it there.
    Distrusted(Distrust),
    /// It can't be read or is invalid.
    Unusable(Error),
}

/// Finds the configuration of the container that CRIU is about to restore: the runtime's (CRIU's parent), or
/// else the one beside the image directory.
///
/// CRIU restores more than OCI containers, for any caller, from any directory. So a configuration is used
/// only if it is an OCI runtime's, which has read it itself, or is beside the images, and only if nobody
/// but root and the calling user can have put it there (`trust.rs`).
fn find_bundle(images: Option<&Path>) -> Result<Found, NotFound> {
    let mut not_found = NotFound::Nothing;
    for directory in directories_of_runtime(criu(images)) {
        match open_bundle(&directory) {
            Ok(bundle) => return Ok(Found::OfRuntime(bundle)),
            Err(why) => not_found = not_found.or(why),
        }
    }
    if let Some(images) = images {
        match open_bundle(&images.join("..")) {
            Ok(bundle) => return Ok(Found::BesideImages(bundle)),
            Err(why) => not_found = not_found.or(why),
        }
    }
    Err(not_found)
}

impl NotFound {
    /// The first reason other than [`NotFound::Nothing`].
    fn or(self, other: Self) -> Self {
        match self {
            Self::Nothing => other,
            first => first,
        }
    }
}

/// Reads the bundle in a directory, if it is a trusted OCI bundle.
fn open_bundle(directory: &Path) -> Result<Bundle, NotFound> {
    let unreadable = |errno| match errno {
        // No directory, so no configuration.
        Errno::ENOENT | Errno::ENOTDIR => NotFound::Nothing,
        errno => NotFound::Unusable(Error::Unreadable {
            file: directory.to_owned(),
            operation: "open",
            errno,
        }),
    };
    let open = sys::open_directory(directory).map_err(unreadable)?;
    let name = named(directory, open.as_fd());
    match Bundle::open_trusted(open, &name) {
        Ok(Some(bundle)) if bundle.config.is_oci => Ok(bundle),
        // Another program's config.json.
        Ok(_) | Err(Refused::Invalid { is_oci: false, .. }) => Err(NotFound::Nothing),
        Err(Refused::Distrusted(distrust)) => Err(NotFound::Distrusted(distrust)),
        Err(Refused::Unreadable(error) | Refused::Invalid { error, .. }) => {
            Err(NotFound::Unusable(error))
        }
    }
}

/// The real path of an open directory, if it still leads there, for messages: `/proc/PID/cwd` tells people
/// nothing.
fn named(directory: &Path, open: BorrowedFd) -> PathBuf {
    let leads_there = |name: &Path| {
        let identity = sys::inode(open).ok()?.identity;
        Some(sys::inode_of_root(name).ok()?.identity == identity)
    };
    match sys::name_of(open) {
        Ok(name) if leads_there(&name) == Some(true) => name,
        _ => directory.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_called_by_its_own_name() {
        let cwd = std::env::current_dir().unwrap();
        for (directory, name) in [
            ("/proc/self/cwd", cwd.as_path()),
            ("/proc/self/cwd/..", cwd.parent().unwrap()),
        ] {
            let directory = Path::new(directory);
            let open = sys::open_directory(directory).unwrap();
            assert_eq!(named(directory, open.as_fd()), name);
        }
    }

    /// proc(5) calls it by another name then, which may be that of another one.
    #[test]
    #[allow(clippy::disallowed_methods)] // The test creates the files that the code inspects.
    fn a_directory_that_is_gone_is_called_as_it_was_asked_for() {
        let base = tempfile::tempdir().unwrap();
        let gone = base.path().join("gone");
        std::fs::create_dir(&gone).unwrap();
        let open = sys::open_directory(&gone).unwrap();
        std::fs::remove_dir(&gone).unwrap();
        assert_eq!(named(&gone, open.as_fd()), gone);
        std::fs::create_dir(base.path().join("gone (deleted)")).unwrap();
        assert_eq!(named(&gone, open.as_fd()), gone);
    }
}
