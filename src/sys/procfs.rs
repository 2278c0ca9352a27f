// SPDX-License-Identifier: Apache-2.0
//! Reads proc(5) files of the calling processes, CRIU and the runtime.

use std::fs::File;
use std::io::{ErrorKind, Read};

use nix::errno::Errno;

use crate::sys::errno_of;

/// Bytes per read: longer than most command lines.
const CHUNK: usize = 2 << 10;

/// The parent of a process, from proc_pid_stat(5).
///
/// # Errors
///
/// As open(2) and read(2); `EINVAL` if the file has no parent.
pub fn parent_of(pid: i32) -> Result<i32, Errno> {
    let text = read(&format!("/proc/{pid}/stat"))?;
    // The command name in parentheses may contain parentheses and spaces: start after the last `)`.
    let after_name = text
        .iter()
        .rposition(|&byte| byte == b')')
        .ok_or(Errno::EINVAL)?;
    let fields = text
        .get(after_name + 1..)
        .unwrap_or_default()
        .trim_ascii_start();
    fields
        .split(|&byte| byte == b' ')
        .nth(1)
        .and_then(|field| std::str::from_utf8(field).ok()?.parse().ok())
        .ok_or(Errno::EINVAL)
}

/// The arguments of a process, from proc_pid_cmdline(5).
///
/// # Errors
///
/// As open(2) and read(2).
pub fn arguments_of(pid: i32) -> Result<Vec<Vec<u8>>, Errno> {
    let text = read(&format!("/proc/{pid}/cmdline"))?;
    Ok(text.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect())
}

/// Reads a proc(5) file. The kernel returns as much as fits, so a short read is the last one.
fn read(path: &str) -> Result<Vec<u8>, Errno> {
    let mut file = File::open(path).map_err(|error| errno_of(&error))?;
    let mut text = Vec::new();
    let mut part = [0; CHUNK];
    loop {
        match file.read(&mut part) {
            Ok(read) => {
                text.extend_from_slice(part.get(..read).unwrap_or_default());
                if read < CHUNK {
                    return Ok(text);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(errno_of(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_this_process_is_found() {
        let parent = parent_of(nix::unistd::getpid().as_raw()).unwrap();
        assert_eq!(parent, nix::unistd::getppid().as_raw());
    }
}
