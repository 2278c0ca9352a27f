// SPDX-License-Identifier: Apache-2.0
//! What proc(5) tells of the processes that called: of CRIU and of the runtime.

use nix::errno::Errno;

use crate::sys::errno_of;

/// The parent of a process, from proc_pid_stat(5).
pub fn parent_of(pid: i32) -> Result<i32, Errno> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).map_err(|error| errno_of(&error))?;
    // The name in brackets may hold anything, brackets and blanks too: start behind the last one.
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
pub fn arguments_of(pid: i32) -> Result<Vec<Vec<u8>>, Errno> {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).map_err(|error| errno_of(&error))?;
    Ok(text.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect())
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
