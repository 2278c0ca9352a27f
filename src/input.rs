// SPDX-License-Identifier: Apache-2.0
//! Bytes from files and pipes that somebody else wrote, bounded in size and in time.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::error::Error;
use crate::sys;

/// Reads a regular file of at most `limit` bytes. A FIFO or a device is an error at once, and never
/// waited for.
pub fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let unreadable = |operation| {
        move |errno| Error::Unreadable {
            file: path.to_owned(),
            operation,
            errno,
        }
    };
    // O_NONBLOCK: opening a FIFO would wait for a writer, and a device could do anything.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let fd = open(path, flags, Mode::empty()).map_err(unreadable("open"))?;
    let stat = fstat(&fd).map_err(unreadable("fstat"))?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Error::invalid(path, "", "not a regular file"));
    }
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    read_all(File::from(fd), path, limit, size.min(limit))
}

/// Reads `stream` to its end, `limit` bytes at most. `file` is what errors call it.
pub fn read_stream(stream: impl Read, file: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    read_all(stream, file, limit, 0)
}

fn read_all(
    input: impl Read,
    file: &Path,
    limit: usize,
    expected: usize,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(expected + 1);
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    input
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::Unreadable {
            file: file.to_owned(),
            operation: "read",
            errno: sys::errno_of(&error),
        })?;
    if bytes.len() > limit {
        return Err(Error::invalid(
            file,
            "",
            format!("longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}
