// SPDX-License-Identifier: Apache-2.0
//! What the calling processes' proc(5) files reveal: CRIU's, and those of the runtime that called it.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::checkpoint::ImageDirectory;
use crate::oci::bundle::Bundle;
use crate::sys::procfs;
use crate::trust::{self, Distrust};

/// The image directory beside the configuration, as CRI-O and Podman name it.
const BESIDE: &str = "checkpoint";

/// The directories that may be the runtime's bundle: its current directory and those on its command line.
/// Empty if CRIU's caller is not an OCI runtime, which would use CRIU's RPC and have `restore` on its command
/// line.
pub(super) fn directories_of_runtime(criu: i32) -> Vec<PathBuf> {
    if !procfs::arguments_of(criu).is_ok_and(|arguments| is_rpc_restore(&arguments)) {
        return Vec::new();
    }
    let Ok(runtime) = procfs::parent_of(criu) else {
        return Vec::new();
    };
    let arguments = procfs::arguments_of(runtime).unwrap_or_default();
    if !arguments.iter().skip(1).any(|word| word == b"restore") {
        return Vec::new();
    }
    let named = ["bundle", "b"].map(|name| value_of(&arguments, name));
    // Relative paths were relative to a directory that the runtime has left.
    let named = named
        .into_iter()
        .flatten()
        .filter(|path| path.is_absolute());
    let cwd = PathBuf::from(format!("/proc/{runtime}/cwd"));
    std::iter::once(cwd)
        .chain(named.map(Path::to_owned))
        .collect()
}

/// Whether CRIU was asked to restore over RPC. It was called as `criu swrk FD`, and by now has overwritten
/// that with its title, the single argument `criu: restore --rpc`, whatever the program is called.
fn is_rpc_restore(arguments: &[Vec<u8>]) -> bool {
    let title = b": restore --rpc";
    let is_title = |first: &Vec<u8>| first.windows(title.len()).any(|part| part == title);
    arguments.first().is_some_and(is_title) || arguments.get(1).is_some_and(|word| word == b"swrk")
}

/// The ID of the container that CRIU is about to restore: the runtime's last argument.
pub(super) fn container_of(images: Option<&Path>) -> Option<Vec<u8>> {
    let runtime = procfs::parent_of(criu(images)).ok()?;
    let mut arguments = procfs::arguments_of(runtime).ok()?;
    // Every argument ends with a NUL, so an empty one follows the last.
    arguments.retain(|argument| !argument.is_empty());
    arguments.pop()
}

/// CRIU's process ID.
pub(super) fn criu(images: Option<&Path>) -> i32 {
    images
        .and_then(process_of)
        .unwrap_or_else(|| nix::unistd::getppid().as_raw())
}

/// The image directory for a hook, whose state doesn't have it: from the command line of the runtime (its
/// parent), or else beside the configuration, as with CRI-O and Podman. None if there is none.
///
/// # Errors
///
/// Another user may have put it there.
pub(super) fn images_of_hook(bundle: &Bundle) -> Result<Option<ImageDirectory>, Distrust> {
    let runtime = nix::unistd::getppid().as_raw();
    let arguments = procfs::arguments_of(runtime).unwrap_or_default();
    let trusted = bundle.trusted.as_ref();
    let path = if let Some(images) = value_of(&arguments, "image-path") {
        // Relative to the runtime's current directory.
        PathBuf::from(format!("/proc/{runtime}/cwd")).join(images)
    } else {
        let path = bundle.directory.join(BESIDE);
        let beside = trusted.map(|bundle| ImageDirectory::open_in(bundle, BESIDE, &path));
        if let Some(Ok(images)) = beside {
            trust::inner(images.as_fd(), &path)?;
            return Ok(Some(images));
        }
        path
    };
    let Ok(images) = ImageDirectory::open(&path) else {
        return Ok(None);
    };
    trust::directory(images.as_fd(), &path, trusted)?;
    Ok(Some(images))
}

/// The value of an option on a command line, in the syntax of runc and crun.
fn value_of<'a>(arguments: &'a [Vec<u8>], name: &str) -> Option<&'a Path> {
    let path = |bytes| Path::new(OsStr::from_bytes(bytes));
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(option) = argument.strip_prefix(b"-") else {
            continue;
        };
        match option
            .strip_prefix(b"-")
            .unwrap_or(option)
            .strip_prefix(name.as_bytes())
        {
            Some(b"") => return arguments.next().map(|value| path(value)),
            Some(value) if value.starts_with(b"=") => return value.get(1..).map(path),
            _ => {}
        }
    }
    None
}

/// The process ID in `/proc/PID/fd/N`.
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
    fn a_runtime_asks_criu_by_a_socket() {
        let asked = |line: &str| {
            let arguments: Vec<Vec<u8>> = line.split('|').map(Vec::from).collect();
            is_rpc_restore(&arguments)
        };
        assert!(asked("criu: restore --rpc -D /w/images|")); // 4.1
        assert!(asked("criu: restore --rpc|")); // 4.3
        assert!(asked("criu-next: restore --rpc|"));
        assert!(asked("/usr/sbin/criu|swrk|3|"));
        assert!(!asked("criu|restore|--rpc|-D|/w/images|"));
        assert!(!asked("criu|restore|-D|swrk|"));
        assert!(!asked("/usr/local/sbin/criu|restore|--tree|1|"));
        assert!(!asked("criu|service|"));
        assert!(!asked(""));
    }

    #[test]
    fn the_image_path_is_found_on_a_command_line() {
        let found = |line: &str| {
            let arguments: Vec<Vec<u8>> = line.split(' ').map(Vec::from).collect();
            value_of(&arguments, "image-path").map(Path::to_owned)
        };
        assert_eq!(found("runc restore --image-path /i c"), Some("/i".into()));
        assert_eq!(found("runc restore --image-path=/i c"), Some("/i".into()));
        assert_eq!(found("runc restore -image-path i c"), Some("i".into()));
        assert_eq!(found("runc restore --image-path"), None);
        assert_eq!(found("runc restore --image-path-of-another=/i c"), None);
        assert_eq!(found("runc restore image-path c"), None);
    }
}
