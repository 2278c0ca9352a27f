// SPDX-License-Identifier: Apache-2.0
//! Standard output, for the commands that people run.

use std::io::{self, BufWriter, IsTerminal, Write, stdout};

use nix::errno::Errno;

use crate::error::Error;
use crate::sys;

/// Writes a report as it is generated: it can be much longer than its input, so it is never in memory at
/// once.
///
/// # Errors
///
/// Writing to standard output fails, other than with `EPIPE`.
pub fn write(report: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(64 << 10, stdout().lock());
    match report(&mut out)
        .and_then(|()| out.flush())
        .map_err(|error| sys::errno_of(&error))
    {
        // A reader that closes the pipe has read enough.
        Ok(()) | Err(Errno::EPIPE) => Ok(()),
        Err(errno) => Err(Error::ReportFailed { errno, done: None }),
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

/// Whether to use colours.
pub fn is_colourful() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
