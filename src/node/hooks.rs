// SPDX-License-Identifier: Apache-2.0
//! The hooks in the directories that engines read (oci-hooks(5)): premount's own, and all others.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde_json::Value;

use crate::cli::PROGRAM;
use crate::error::Error;
use crate::node::files::Files;
use crate::node::hook_json::{Fault, Hook};

/// The directory for packaged hooks.
pub const DIRECTORY: &str = "/usr/share/containers/oci/hooks.d";
/// The directory for the administrator's hooks.
pub const ADMIN_DIRECTORY: &str = "/etc/containers/oci/hooks.d";
/// The file name of premount's hook.
pub const FILE_NAME: &str = "premount.json";

/// The hook as shipped.
const SHIPPED: &str = include_str!("../../hooks.d/premount.json");
/// Maximum size of a hook, in bytes. Engines have no limit, but no real hook is that long.
const MAX_SIZE: usize = 1 << 20;

/// premount's hook, as JSON, for a program.
pub fn json_for(program: &Path) -> String {
    let quoted = |path: &str| serde_json::Value::from(path).to_string();
    SHIPPED.replace(&quoted(PROGRAM), &quoted(&program.to_string_lossy()))
}

/// A hook in a directory.
#[derive(Debug)]
pub struct FoundHook {
    /// Its path.
    pub path: PathBuf,
    /// Whether that is a regular file.
    pub is_file: bool,
    /// The program that it names, if known.
    pub program: Option<PathBuf>,
    /// Whether it names any stage.
    pub has_stages: bool,
    /// Why engines do not load it.
    pub fault: Option<Fault>,
}

impl FoundHook {
    /// Whether it has the file name of premount's hook.
    pub fn has_own_name(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == FILE_NAME)
    }
}

/// Finds the hooks in a directory, sorted by name as engines read them. `more_stages` are the stages that
/// these engines accept beside the standard ones.
///
/// # Errors
///
/// The directory cannot be read.
pub fn find(
    files: &Files,
    directory: &Path,
    more_stages: &[&str],
) -> Result<Vec<FoundHook>, Error> {
    let mut found = Vec::new();
    for path in files.list(directory)? {
        if path.as_os_str().as_bytes().ends_with(b".json") {
            found.extend(read(files, path, more_stages));
        }
    }
    Ok(found)
}

/// Reads a hook; returns `None` for a dangling symlink, which engines skip too.
fn read(files: &Files, path: PathBuf, more_stages: &[&str]) -> Option<FoundHook> {
    let mut hook = FoundHook {
        path,
        is_file: false,
        program: None,
        has_stages: true,
        fault: None,
    };
    let rejected = |reason: String| Some(Fault::Rejected(reason));
    match files.find(&hook.path) {
        Ok(None) => return None,
        Ok(Some(found)) if found.is_file => hook.is_file = true,
        Ok(Some(found)) if found.is_directory => {
            hook.fault = rejected("expected a file, found a directory".to_owned());
        }
        // An engine blocks forever on a FIFO.
        Ok(Some(_)) => hook.fault = rejected("not a regular file".to_owned()),
        Err(error) => hook.fault = rejected(error.to_string()),
    }
    if !hook.is_file {
        return Some(hook);
    }
    let text = match files.read(&hook.path, MAX_SIZE) {
        Ok(text) => text?,
        Err(error) => {
            hook.fault = rejected(match error {
                Error::Invalid { reason, .. } => reason,
                other => other.to_string(),
            });
            return Some(hook);
        }
    };
    let value: Value = match serde_json::from_str(&String::from_utf8_lossy(&text)) {
        Ok(value) => value,
        Err(error) => {
            hook.fault = rejected(error.to_string());
            return Some(hook);
        }
    };
    // Find the program even in a hook that engines reject.
    let named = value.get("hook");
    let named = named.and_then(|hook| hook.as_str().or_else(|| hook.get("path")?.as_str()));
    hook.program = named.map(PathBuf::from);
    let parsed = Hook::parse(&value).map_err(Fault::Rejected);
    hook.fault = match parsed {
        Ok(read) => {
            hook.program = read.program.map(PathBuf::from);
            hook.has_stages = read.stages.as_ref().is_none_or(|all| !all.is_empty());
            read.check(more_stages, |program| access(files, program))
                .err()
        }
        Err(fault) => Some(fault),
    };
    Some(hook)
}

/// Checks that a program exists, whatever its type and mode: engines check no more than that.
fn access(files: &Files, program: &Path) -> Result<(), Errno> {
    let errno = |error: Error| match error {
        Error::Unreadable { errno, .. } => errno,
        _ => Errno::EIO,
    };
    for path in program.ancestors() {
        match files.find(path).map_err(errno)? {
            Some(_) if path == program => return Ok(()),
            Some(above) if !above.is_directory => return Err(Errno::ENOTDIR),
            Some(_) => return Err(Errno::ENOENT),
            None => {}
        }
    }
    Err(Errno::ENOENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_names_the_program_at_any_path() {
        assert_eq!(json_for(Path::new(PROGRAM)), SHIPPED);
        let moved = json_for(Path::new("/opt/\"premount"));
        let written = serde_json::from_str(&moved).unwrap();
        let hook = Hook::parse(&written).unwrap();
        assert_eq!(hook.program, Some("/opt/\"premount"));
        assert_eq!(hook.check(&[], |_| Ok(())), Ok(()));
    }
}
