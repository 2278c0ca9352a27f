// SPDX-License-Identifier: Apache-2.0
//! Standard output, for those who call by hand.

use std::io::{self, BufWriter, IsTerminal, Write, stdout};

use nix::errno::Errno;

use crate::error::Error;
use crate::sys;

/// Writes a report while it is made: all of it at once could be much longer than what it is about.
///
/// # Errors
///
/// Standard output doesn't take it, unless a reader has closed it.
pub fn write(report: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(64 << 10, stdout().lock());
    match report(&mut out)
        .and_then(|()| out.flush())
        .map_err(|error| sys::errno_of(&error))
    {
        // Whoever closes the pipe has read enough.
        Ok(()) | Err(Errno::EPIPE) => Ok(()),
        Err(errno) => Err(Error::Untold { errno, done: None }),
    }
}

/// Writes a line.
///
/// # Errors
///
/// As [`write()`].
pub fn line(line: &str) -> Result<(), Error> {
    write(|out| writeln!(out, "{line}"))
}

/// Whether to write in colour.
pub fn is_colourful() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
