// SPDX-License-Identifier: Apache-2.0
//! What the processes tell that called premount: CRIU, and the runtime that called it.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::checkpoint::ImageDirectory;
use crate::oci::bundle::Bundle;
use crate::sys::procfs;
use crate::trust::{self, Distrust};

/// The bundles that the runtime names: its current directory, and what its command line has. None if CRIU's
/// caller is not an OCI runtime: those ask for a restore by a socket, and have `restore` on their own command
/// line.
pub(super) fn directories_of_runtime(criu: i32) -> Vec<PathBuf> {
    if !procfs::arguments_of(criu).is_ok_and(|arguments| is_asked_by_socket(&arguments)) {
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
    // A relative one was relative to where the runtime was before.
    let named = named
        .into_iter()
        .flatten()
        .filter(|path| path.is_absolute());
    let cwd = PathBuf::from(format!("/proc/{runtime}/cwd"));
    std::iter::once(cwd)
        .chain(named.map(Path::to_owned))
        .collect()
}

/// Whether CRIU's command line says so: it was called as `criu swrk FD`, and has written what it was asked
/// for over that by now, `criu: restore --rpc`, as one argument, whatever its program is called.
fn is_asked_by_socket(arguments: &[Vec<u8>]) -> bool {
    let title = b": restore --rpc";
    let is_title = |first: &Vec<u8>| first.windows(title.len()).any(|part| part == title);
    arguments.first().is_some_and(is_title) || arguments.get(1).is_some_and(|word| word == b"swrk")
}

/// The name of the container that CRIU is about to restore: the last argument of the runtime.
pub(super) fn container_of(images: Option<&Path>) -> Option<Vec<u8>> {
    let runtime = procfs::parent_of(criu(images)).ok()?;
    let mut arguments = procfs::arguments_of(runtime).ok()?;
    // Each ends with a NUL: behind the last is nothing.
    arguments.retain(|argument| !argument.is_empty());
    arguments.pop()
}

/// CRIU's process.
pub(super) fn criu(images: Option<&Path>) -> i32 {
    images
        .and_then(process_of)
        .unwrap_or_else(|| nix::unistd::getppid().as_raw())
}

/// The checkpoint's image directory, for a hook, which is told nothing of it: from the command line of
/// the runtime, its parent, or else where CRI-O and Podman have it, beside the configuration. None where
/// there is none, an error where others can have put it there.
pub(super) fn images_of_hook(bundle: &Bundle) -> Result<Option<ImageDirectory>, Distrust> {
    let runtime = nix::unistd::getppid().as_raw();
    let arguments = procfs::arguments_of(runtime).unwrap_or_default();
    let named = value_of(&arguments, "image-path")
        // Relative paths are the runtime's.
        .map(|images| PathBuf::from(format!("/proc/{runtime}/cwd")).join(images));
    let images = named.unwrap_or_else(|| bundle.directory.join("checkpoint"));
    let Ok(images) = ImageDirectory::open(&images) else {
        return Ok(None);
    };
    trust::directory(images.as_fd(), images.path(), bundle.trusted)?;
    Ok(Some(images))
}

/// The value of an option on a command line, as runc's and crun's have it.
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
            is_asked_by_socket(&arguments)
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
