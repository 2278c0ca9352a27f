// SPDX-License-Identifier: Apache-2.0
//! The way in from CRIU: its action script (criu(8), `--action-script`). CRIU names neither the bundle nor the
//! container: both are those of the runtime that called it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tracing::info;

use super::caller::{self, criu, directories_of_runtime};
use super::{in_a_restore, log_distrust, log_not_considered, log_nothing_done};
use crate::checkpoint::ImageDirectory;
use crate::error::Error;
use crate::log::{self, TARGET};
use crate::oci::bundle::{Bundle, Refused};
use crate::oci::config::RESTORE_ANNOTATION;
use crate::request::Request;
use crate::sys;
use crate::trust::Distrust;

/// The variable with the stage.
pub const STAGE_VARIABLE: &str = "CRTOOLS_SCRIPT_ACTION";
/// The variable with the image directory, `/proc/PID/fd/N` of CRIU's own.
pub const IMAGE_DIRECTORY_VARIABLE: &str = "CRTOOLS_IMAGE_DIR";

/// Whether a stage is the one at which mountpoints are needed: before CRIU mounts.
pub fn is_before_restore(stage: &OsStr) -> bool {
    stage == "pre-restore"
}

/// What CRIU's call asks to prepare; none if there is nothing to do. `images` is the image directory.
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
        log_not_considered(&error);
        None
    });
    Some(in_a_restore(bundle, images, must_fit))
}

/// Where the configuration of what CRIU restores was found.
#[derive(Debug)]
enum Found {
    /// The runtime that started CRIU works in its directory, or names it: it is the restored container's.
    OfRuntime(Bundle),
    /// It lies beside the images (Podman, CRI-O). Whether it has to do with them, their mounts tell.
    BesideImages(Bundle),
}

/// Why no configuration is used.
#[derive(Debug)]
enum NotFound {
    /// There is none: what CRIU restores is not an OCI container.
    Nothing,
    /// There is one, but somebody else may have put it there.
    Distrusted(Distrust),
    /// There is one that can't be read, or something in it is wrong.
    Unusable(Error),
}

/// Finds the configuration of what CRIU is about to restore: that of the runtime, CRIU's parent, or else
/// the one beside the image directory.
///
/// CRIU restores more than OCI containers, for any caller, from any directory. So a configuration is taken
/// only from an OCI runtime, which has read it itself, or from beside the images; and only if nobody but
/// root or who runs premount can have put it there (`trust.rs`).
fn find_bundle(images: Option<&Path>) -> Result<Found, NotFound> {
    let mut not_found = NotFound::Nothing;
    for directory in directories_of_runtime(criu(images)) {
        match take(&directory) {
            Ok(bundle) => return Ok(Found::OfRuntime(bundle)),
            Err(why) => not_found = not_found.or(why),
        }
    }
    if let Some(images) = images {
        match take(&images.join("..")) {
            Ok(bundle) => return Ok(Found::BesideImages(bundle)),
            Err(why) => not_found = not_found.or(why),
        }
    }
    Err(not_found)
}

impl NotFound {
    /// The first reason other than that there is nothing.
    fn or(self, other: Self) -> Self {
        match self {
            Self::Nothing => other,
            first => first,
        }
    }
}

/// Takes the configuration in a directory, if it is an OCI container's and can be trusted.
fn take(directory: &Path) -> Result<Bundle, NotFound> {
    let unreadable = |errno| match errno {
        // No configuration, then.
        Errno::ENOENT | Errno::ENOTDIR => NotFound::Nothing,
        errno => NotFound::Unusable(Error::Unreadable {
            file: directory.to_owned(),
            operation: "open",
            errno,
        }),
    };
    let open = sys::open_directory(directory).map_err(unreadable)?;
    let bundle = Bundle::open_trusted(open.as_fd(), &named(directory, open.as_fd()));
    match bundle {
        Ok(Some(bundle)) if bundle.config.is_oci => Ok(bundle),
        // Some other program's.
        Ok(_) | Err(Refused::Invalid { is_oci: false, .. }) => Err(NotFound::Nothing),
        Err(Refused::Distrusted(distrust)) => Err(NotFound::Distrusted(distrust)),
        Err(Refused::Unreadable(error) | Refused::Invalid { error, .. }) => {
            Err(NotFound::Unusable(error))
        }
    }
}

/// The own name of an open directory, where it still leads there: `/proc/PID/cwd` says nothing to a
/// person.
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
    #[allow(clippy::disallowed_methods)] // The test builds what the code is to look at.
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
