// SPDX-License-Identifier: Apache-2.0
//! Where premount belongs on a node, unless the command line says so: in /usr or, where that is read-only
//! (image-based systems), in /opt or /var/lib, with the hook in the administrator's directory. Engines are told
//! where the hook is, if they don't look there.

use std::path::{Path, PathBuf};

use crate::cli::PROGRAM;
use crate::error::Error;
use crate::node::engines::Engine;
use crate::node::files::Files;
use crate::node::install::{Change, Step};
use crate::node::{Node, hooks};

/// Where the program goes if it cannot be at [`PROGRAM`]; CRIU's configuration files name it, so no search path
/// matters.
const ELSEWHERE: [&str; 2] = [
    "/opt/premount/bin/premount",
    "/var/lib/premount/bin/premount",
];

/// The file that makes CRI-O read hooks from one more directory. CRI-O reads the last file of a setting.
pub const CRI_O_DROP_IN: &str = "/etc/crio/crio.conf.d/99-premount.conf";
/// Maximum size of it, in bytes.
const MAX_SIZE: usize = 1 << 20;
/// Its first line, by which it is known.
const HEADER: &str = "# Written by premount install, and removed by premount uninstall.\n";

/// The program's path: where it is, or else where it can be.
///
/// # Errors
///
/// The node's files cannot be read.
pub fn program(files: &Files) -> Result<PathBuf, Error> {
    let all = || [PROGRAM].into_iter().chain(ELSEWHERE).map(Path::new);
    for path in all() {
        if files.find(path)?.is_some_and(|found| found.is_executable) {
            return Ok(path.to_owned());
        }
    }
    for path in all() {
        if !files.is_read_only(path)? {
            return Ok(path.to_owned());
        }
    }
    Ok(PROGRAM.into())
}

/// The directory for the hook: the packages', unless that is read-only or the program is not in /usr either.
///
/// # Errors
///
/// The node's files cannot be read.
pub fn hooks_directory(files: &Files, program: &Path) -> Result<PathBuf, Error> {
    let hook = |directory: &str| Path::new(directory).join(hooks::FILE_NAME);
    let packaged = hook(hooks::DIRECTORY);
    let is_elsewhere = ELSEWHERE.map(Path::new).contains(&program);
    let is_there = files.find(&packaged)?.is_some();
    let is_unusable = is_elsewhere || files.is_read_only(&packaged)?;
    if !is_there && is_unusable && !files.is_read_only(&hook(hooks::ADMIN_DIRECTORY))? {
        return Ok(hooks::ADMIN_DIRECTORY.into());
    }
    Ok(hooks::DIRECTORY.into())
}

/// The step that makes CRI-O also read hooks from the directory that premount has chosen; `None` if it does, or
/// if there is no CRI-O. Podman reads both standard directories. An administrator who names a directory decides
/// about CRI-O's configuration, too.
///
/// # Errors
///
/// The node's files cannot be read.
pub fn drop_in_step(node: &Node, engines: &[Engine]) -> Result<Option<Step>, Error> {
    let directory = &node.hooks_directory;
    let cri_o = engines.iter().find(|it| it.program.name == "crio");
    let Some(cri_o) = cri_o.filter(|it| !it.hook_directories.contains(directory)) else {
        return Ok(None);
    };
    if node.is_hooks_directory_given || directory != Path::new(hooks::ADMIN_DIRECTORY) {
        return Ok(None);
    }
    let path = PathBuf::from(CRI_O_DROP_IN);
    let there = node.files.read_to_replace(&path, MAX_SIZE)?;
    if there.is_some_and(|text| !is_own(&text)) {
        return Ok(None);
    }
    // JSON's strings are strings of TOML's.
    let all: Vec<String> = cri_o
        .hook_directories
        .iter()
        .chain([directory])
        .map(|path| serde_json::Value::from(path.to_string_lossy()).to_string())
        .collect();
    let all = all.join(", ");
    let text = format!(
        "{HEADER}# premount's hook is in the last of these directories. The others are those that CRI-O read \
         hooks from\n# when this file was written.\n[crio.runtime]\nhooks_dir = [{all}]\n"
    );
    Ok(Some(Step::Write {
        path,
        content: text.into_bytes(),
        mode: None,
        change: Change::Content,
    }))
}

/// Whether a drop-in that premount wrote is there.
///
/// # Errors
///
/// The node's files cannot be looked up.
pub fn has_own_drop_in(node: &Node) -> Result<bool, Error> {
    let path = Path::new(CRI_O_DROP_IN);
    // A link is somebody else's, and what cannot be read is not premount's.
    if node.files.is_link(path)? {
        return Ok(false);
    }
    let text = node.files.read(path, MAX_SIZE).ok().flatten();
    Ok(text.is_some_and(|text| is_own(&text)))
}

fn is_own(text: &[u8]) -> bool {
    text.starts_with(HEADER.as_bytes())
}
