// SPDX-License-Identifier: Apache-2.0
//! The way in from CRIU: the stage of its action script (criu(8), `--action-script`), and the bundle
//! of the runtime that called it. CRIU tells neither the bundle nor the container.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tracing::debug;

use crate::bundle::Bundle;
use crate::error::{Error, shown};
use crate::log::TARGET;
use crate::{procfs, sys};

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
/// neither has an OCI configuration: then it isn't an OCI container. An error where that can't be told.
pub fn find_bundle(images: Option<&Path>) -> Result<Option<Bundle>, Error> {
    let criu = criu(images);
    let of_runtime = procfs::parent_of(criu).map_err(|errno| Error::Unreadable {
        file: PathBuf::from(format!("/proc/{criu}/stat")),
        operation: "read",
        errno,
    });
    let of_runtime = of_runtime.map(|pid| PathBuf::from(format!("/proc/{pid}/cwd")));
    let of_images = images.map(|images| Ok(images.join("..")));
    let mut doubt = None;
    for directory in std::iter::once(of_runtime).chain(of_images) {
        match directory.and_then(|directory| Bundle::open(&named(directory))) {
            Ok(bundle) if bundle.is_oci() => return Ok(Some(bundle)),
            Ok(bundle) => {
                let directory = shown(&bundle.directory);
                debug!(target: TARGET, "no OCI configuration in {directory}");
            }
            Err(error) => {
                debug!(target: TARGET, "{error}");
                // What isn't there, or is something else, is no configuration. What could not be
                // looked at might be one.
                if let Error::Unreadable { errno, .. } = error {
                    if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
                        doubt = doubt.or(Some(error));
                    }
                }
            }
        }
    }
    doubt.map_or(Ok(None), Err)
}

/// The name of the container that CRIU is about to restore: the last argument of the runtime.
pub fn container_of(images: Option<&Path>) -> Option<Vec<u8>> {
    let runtime = procfs::parent_of(criu(images)).ok()?;
    let mut arguments = procfs::arguments_of(runtime).ok()?;
    // Each ends with a NUL: behind the last is nothing.
    arguments.retain(|argument| !argument.is_empty());
    arguments.pop()
}

/// CRIU's process.
fn criu(images: Option<&Path>) -> i32 {
    images
        .and_then(process_of)
        .unwrap_or_else(|| nix::unistd::getppid().as_raw())
}

/// The checkpoint's image directory, for a hook, which is told nothing of it: from the command line of
/// the runtime, its parent, or else where CRI-O and Podman have it, beside the configuration.
pub fn images_of_hook(bundle: &Path) -> Option<PathBuf> {
    let runtime = nix::unistd::getppid().as_raw();
    let arguments = procfs::arguments_of(runtime).unwrap_or_default();
    let named = image_path(&arguments)
        // Relative paths are the runtime's.
        .map(|images| PathBuf::from(format!("/proc/{runtime}/cwd")).join(images));
    named.or_else(|| {
        let beside = bundle.join("checkpoint");
        sys::inode_of_root(&beside).is_ok().then_some(beside)
    })
}

/// The value of `--image-path`, as runc's command line has it.
fn image_path(arguments: &[Vec<u8>]) -> Option<&Path> {
    let path = |bytes| Path::new(OsStr::from_bytes(bytes));
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(option) = argument.strip_prefix(b"-") else {
            continue;
        };
        match option
            .strip_prefix(b"-")
            .unwrap_or(option)
            .strip_prefix(b"image-path")
        {
            Some(b"") => return arguments.next().map(|value| path(value)),
            Some(value) if value.starts_with(b"=") => return value.get(1..).map(path),
            _ => {}
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
    fn the_image_path_is_found_on_a_command_line() {
        let found = |line: &str| {
            let arguments: Vec<Vec<u8>> = line.split(' ').map(Vec::from).collect();
            image_path(&arguments).map(Path::to_owned)
        };
        assert_eq!(found("runc restore --image-path /i c"), Some("/i".into()));
        assert_eq!(found("runc restore --image-path=/i c"), Some("/i".into()));
        assert_eq!(found("runc restore -image-path i c"), Some("i".into()));
        assert_eq!(found("runc restore --image-path"), None);
        assert_eq!(found("runc restore image-path c"), None);
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
