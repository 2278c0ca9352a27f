// SPDX-License-Identifier: Apache-2.0
//! Hooks that engines read from directories (oci-hooks(5)): premount's own, and those that name it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::node::files::Files;

/// The directory of packages' hooks.
pub const DIRECTORY: &str = "/usr/share/containers/oci/hooks.d";
/// The directory of an administrator's hooks.
pub const OF_ADMINISTRATOR: &str = "/etc/containers/oci/hooks.d";
/// premount's hook in either.
pub const FILE_NAME: &str = "premount.json";

/// The hook as it is shipped.
const SHIPPED: &str = include_str!("../../hooks.d/premount.json");
/// The program in it.
pub const PROGRAM: &str = "/usr/libexec/oci/hooks.d/premount";
const MAX_SIZE: usize = 1 << 20;

/// The hook for a program.
pub fn text(program: &Path) -> String {
    let quoted = |path: &str| serde_json::Value::from(path).to_string();
    SHIPPED.replace(&quoted(PROGRAM), &quoted(&program.to_string_lossy()))
}

#[derive(Deserialize)]
struct Written {
    hook: Option<Hook>,
}

#[derive(Deserialize)]
struct Hook {
    path: Option<PathBuf>,
}

/// The hooks in a directory, and the program of each. What is no hook is the engine's to complain of.
pub fn find(files: &Files, directory: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    let mut found = Vec::new();
    for path in files.list(directory)? {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = files.read(&path, MAX_SIZE).ok().flatten();
        let written = serde_json::from_slice::<Written>(&text.unwrap_or_default()).ok();
        if let Some(program) = written.and_then(|it| it.hook?.path) {
            found.push((path, program));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_names_the_program_wherever_it_is() {
        assert_eq!(text(Path::new(PROGRAM)), SHIPPED);
        let moved = text(Path::new("/opt/\"premount"));
        let written: Written = serde_json::from_str(&moved).unwrap();
        assert_eq!(
            written.hook.unwrap().path.unwrap(),
            Path::new("/opt/\"premount")
        );
    }
}
