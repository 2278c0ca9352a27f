// SPDX-License-Identifier: Apache-2.0
//! Hooks that engines read from directories (oci-hooks(5)): premount's own, and those that name it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde_json::Value;

use crate::cli::PROGRAM;
use crate::error::Error;
use crate::node::files::Files;
use crate::node::hook_json::{Fault, Hook};

/// The directory of packages' hooks.
pub const DIRECTORY: &str = "/usr/share/containers/oci/hooks.d";
/// The directory of an administrator's hooks.
pub const OF_ADMINISTRATOR: &str = "/etc/containers/oci/hooks.d";
/// premount's hook in either.
pub const FILE_NAME: &str = "premount.json";

/// The hook as it is shipped.
const SHIPPED: &str = include_str!("../../hooks.d/premount.json");
/// Engines have no such bound; nobody's hook is that long.
const MAX_SIZE: usize = 1 << 20;

/// The hook for a program.
pub fn text(program: &Path) -> String {
    let quoted = |path: &str| serde_json::Value::from(path).to_string();
    SHIPPED.replace(&quoted(PROGRAM), &quoted(&program.to_string_lossy()))
}

/// A hook in a directory.
#[derive(Debug)]
pub struct Found {
    /// Its file.
    pub path: PathBuf,
    /// Whether that is a file at all.
    pub is_file: bool,
    /// The program that it names, as far as it can be told.
    pub program: Option<PathBuf>,
    /// Whether it names any stage.
    pub has_stages: bool,
    /// What engines have against it.
    pub fault: Option<Fault>,
}

impl Found {
    /// Whether it has the name of premount's own.
    pub fn has_own_name(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == FILE_NAME)
    }
}

/// The hooks in a directory, by name as engines read them, for engines that know `more_stages`.
pub fn find(files: &Files, directory: &Path, more_stages: &[&str]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for path in files.list(directory)? {
        if path.as_os_str().as_bytes().ends_with(b".json") {
            found.extend(read(files, path, more_stages));
        }
    }
    Ok(found)
}

/// A hook; none where a link leads nowhere, which engines pass over too.
fn read(files: &Files, path: PathBuf, more_stages: &[&str]) -> Option<Found> {
    let mut hook = Found {
        path,
        is_file: false,
        program: None,
        has_stages: true,
        fault: None,
    };
    let refused = |reason: String| Some(Fault::Refused(reason));
    match files.find(&hook.path) {
        Ok(None) => return None,
        Ok(Some(found)) if found.is_file => hook.is_file = true,
        Ok(Some(found)) if found.is_directory => {
            hook.fault = refused("a directory, where a file belongs".to_owned());
        }
        // An engine waits for a FIFO for ever.
        Ok(Some(_)) => hook.fault = refused("not a regular file".to_owned()),
        Err(error) => hook.fault = refused(error.to_string()),
    }
    if !hook.is_file {
        return Some(hook);
    }
    let text = match files.read(&hook.path, MAX_SIZE) {
        Ok(text) => text?,
        Err(error) => {
            hook.fault = refused(match error {
                Error::Invalid { reason, .. } => reason,
                other => other.to_string(),
            });
            return Some(hook);
        }
    };
    let value: Value = match serde_json::from_str(&String::from_utf8_lossy(&text)) {
        Ok(value) => value,
        Err(error) => {
            hook.fault = refused(error.to_string());
            return Some(hook);
        }
    };
    // What premount calls a hook's program even where an engine would not come to ask.
    let named = value.get("hook");
    let named = named.and_then(|hook| hook.as_str().or_else(|| hook.get("path")?.as_str()));
    hook.program = named.map(PathBuf::from);
    let judged = Hook::of(&value).map_err(Fault::Refused);
    hook.fault = match judged {
        Ok(read) => {
            hook.program = read.program.map(PathBuf::from);
            hook.has_stages = read.stages.as_ref().is_none_or(|all| !all.is_empty());
            read.judge(more_stages, |program| there(files, program))
                .err()
        }
        Err(fault) => Some(fault),
    };
    Some(hook)
}

/// Whether a program is there, whatever it is; engines ask no more than that.
fn there(files: &Files, program: &Path) -> Result<(), Errno> {
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
    fn the_hook_names_the_program_wherever_it_is() {
        assert_eq!(text(Path::new(PROGRAM)), SHIPPED);
        let moved = text(Path::new("/opt/\"premount"));
        let written = serde_json::from_str(&moved).unwrap();
        let hook = Hook::of(&written).unwrap();
        assert_eq!(hook.program, Some("/opt/\"premount"));
        assert_eq!(hook.judge(&[], |_| Ok(())), Ok(()));
    }
}
