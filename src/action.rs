// SPDX-License-Identifier: Apache-2.0
//! The way in from CRIU: the stage of its action script (criu(8), `--action-script`), and the bundle
//! of the runtime that called it. CRIU tells neither the bundle nor the container.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tracing::debug;

use crate::bundle::Bundle;
use crate::error::shown;
use crate::log::TARGET;
use crate::sys;

/// The variable with the stage.
pub const STAGE_VARIABLE: &str = "CRTOOLS_SCRIPT_ACTION";
/// The variable with the image directory, `/proc/PID/fd/N` of CRIU's own.
pub const IMAGE_DIRECTORY_VARIABLE: &str = "CRTOOLS_IMAGE_DIR";

/// Whether a stage is the one at which mountpoints are needed: before CRIU mounts.
pub fn is_before_restore(stage: &OsStr) -> bool {
    stage == "pre-restore"
}

/// Finds the bundle of the container that CRIU is about to restore: the current directory of the
/// runtime, CRIU's parent, or else (Podman, CRI-O) the parent of the image directory. None where
/// neither has an OCI configuration: then it isn't an OCI container.
pub fn find_bundle(images: Option<&Path>) -> Option<Bundle> {
    let criu = images
        .and_then(process_of)
        .unwrap_or_else(|| nix::unistd::getppid().as_raw());
    let runtime = sys::parent_of(criu);
    let from_runtime = runtime
        .ok()
        .map(|pid| named(PathBuf::from(format!("/proc/{pid}/cwd"))));
    let from_images = images.map(|images| named(images.join("..")));
    for directory in from_runtime.into_iter().chain(from_images) {
        match Bundle::open(&directory) {
            Ok(bundle) if bundle.is_oci() => return Some(bundle),
            Ok(_) => debug!(target: TARGET, directory = %shown(&directory), "no OCI configuration"),
            Err(error) => debug!(target: TARGET, "{error}"),
        }
    }
    None
}

/// The process in `/proc/PID/fd/N`.
fn process_of(images: &Path) -> Option<i32> {
    images
        .strip_prefix("/proc")
        .ok()?
        .components()
        .next()?
        .as_os_str()
        .to_str()?
        .parse()
        .ok()
}

/// A directory's own name, where it still leads there: `/proc/PID/cwd` says nothing to a person.
fn named(directory: PathBuf) -> PathBuf {
    let identity = |path: &Path| {
        let fd = sys::open_root(path).ok()?;
        Some(sys::inode(fd.as_fd()).ok()?.identity)
    };
    let target = match directory.file_name() {
        Some(_) => std::fs::read_link(&directory).ok(),
        // IMAGES/.. : the name of the link that IMAGES is, without its last component.
        None => directory
            .parent()
            .and_then(|images| std::fs::read_link(images).ok())
            .and_then(|target| target.parent().map(Path::to_owned)),
    };
    match target {
        Some(target) if identity(&target).is_some_and(|it| Some(it) == identity(&directory)) => {
            target
        }
        _ => directory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_an_image_directory_is_found() {
        assert_eq!(process_of(Path::new("/proc/123/fd/7")), Some(123));
        assert_eq!(process_of(Path::new("/var/lib/images")), None);
        assert_eq!(process_of(Path::new("/proc/self/fd/7")), None);
    }

    #[test]
    fn a_directory_is_called_by_its_own_name() {
        let cwd = std::env::current_dir().unwrap();
        assert_eq!(named(PathBuf::from("/proc/self/cwd")), cwd);
        assert_eq!(
            named(PathBuf::from("/proc/self/cwd/..")),
            cwd.parent().unwrap()
        );
    }
}
