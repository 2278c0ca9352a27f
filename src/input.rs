// SPDX-License-Identifier: Apache-2.0
//! Reads untrusted files and pipes, with limits on size and time.

use std::fs::File;
use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use rustix::buffer::spare_capacity;

use crate::error::Error;
use crate::sys;

/// `O_NONBLOCK`: opening a FIFO would wait for a writer, and opening a device could block.
const READING: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY);

/// Reads a regular file of at most `limit` bytes. Fails immediately for a FIFO or a device.
///
/// # Errors
///
/// The file can't be read, is not a regular file, or is too long.
pub fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let (file, size) = open_file(path)?;
    read_whole(file, size, path, limit)
}

/// Reads an open regular file of `size` bytes, at most `limit`. Errors name `path`.
///
/// # Errors
///
/// The file can't be read or is too long.
pub fn read_whole(file: File, size: u64, path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let expected = usize::try_from(size).unwrap_or(usize::MAX);
    if size == 0 || expected > limit {
        // Kernel files report a size of 0.
        return read_all(file, path, limit, 0);
    }
    // Stop at the size from fstat(2): that saves the read(2) that would find the end of the file.
    let mut bytes = Vec::with_capacity(expected);
    while bytes.len() < expected {
        match rustix::io::read(&file, spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(path, &error.into())),
        }
    }
    bytes.truncate(expected);
    Ok(bytes)
}

/// Opens a regular file, and returns it with its size in bytes. Fails immediately for a FIFO or a device.
///
/// # Errors
///
/// The file can't be opened or is not a regular file.
pub fn open_file(path: &Path) -> Result<(File, u64), Error> {
    let fd = open(path, READING, Mode::empty()).map_err(unreadable(path, "open"))?;
    regular(fd, path)
}

/// [`open_file`] for the file `name` in an open directory. Errors name `path`.
///
/// # Errors
///
/// As [`open_file`].
pub fn open_file_in(directory: BorrowedFd, name: &str, path: &Path) -> Result<(File, u64), Error> {
    let fd = openat(directory, name, READING, Mode::empty()).map_err(unreadable(path, "openat"))?;
    regular(fd, path)
}

fn unreadable(path: &Path, operation: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Unreadable {
        file: path.to_owned(),
        operation,
        errno,
    }
}

fn regular(fd: OwnedFd, path: &Path) -> Result<(File, u64), Error> {
    let stat = fstat(&fd).map_err(unreadable(path, "fstat"))?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Error::invalid(path, "", "not a regular file"));
    }
    Ok((File::from(fd), u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Converts an error from reading `file`, by the system or by a decoder.
pub fn failed(file: &Path, error: &std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(_) => Error::Unreadable {
            file: file.to_owned(),
            operation: "read",
            errno: sys::errno_of(error),
        },
        None => Error::invalid(file, "", error.to_string()),
    }
}

/// Reads `stream` to its end, at most `limit` bytes. Errors name `file`.
///
/// # Errors
///
/// The stream can't be read or is too long.
pub fn read_stream(stream: impl Read, file: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    read_all(stream, file, limit, 4 << 10)
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
        .map_err(|error| failed(file, &error))?;
    if bytes.len() > limit {
        return Err(Error::invalid(
            file,
            "",
            format!("longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}
