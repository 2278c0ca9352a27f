// SPDX-License-Identifier: Apache-2.0
//! Limits on what one call may create and print. Tenants choose a configuration's destinations and a
//! checkpoint's images, and a few hundred KB of either can name millions of directories.

/// Maximum number of missing inodes for the configuration's mounts. No real container needs a thousand.
const INODES: usize = 100_000;
/// Maximum number of inodes that a checkpoint may require beyond the configuration, and of its own mounts that
/// are considered.
const BEYOND: usize = 10_000;
/// Maximum number of inodes named in a report or a log, and of bytes in their paths.
const LINES: usize = 10_000;
const BYTES: usize = 4 << 20;

/// Maximum bytes in the paths of a checkpoint's open files in the container's view, and in those on the host.
/// Short names can lead to long paths: through links, or in a mount that shows a directory far down.
pub const OPEN_FILE_PATHS: usize = 4 << 20;

/// How much one call may create.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Inodes, for the mounts of the configuration.
    pub inodes: usize,
    /// Inodes, and mounts, for what only the checkpoint has.
    pub beyond: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            inodes: INODES,
            beyond: BEYOND,
        }
    }
}

impl Budget {
    /// A budget of this many inodes for each, or the default.
    pub fn of(inodes: Option<usize>) -> Self {
        inodes.map_or_else(Self::default, |inodes| Self {
            inodes,
            beyond: inodes,
        })
    }
}

/// How many single inodes one call may name. The summary counts all of them anyway.
#[derive(Debug)]
pub struct Lines {
    left: usize,
    bytes: usize,
    omitted: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            left: LINES,
            bytes: BYTES,
            omitted: 0,
        }
    }
}

impl Lines {
    /// Takes room for a line with this many bytes of a path. Returns whether there was any.
    pub fn take(&mut self, bytes: usize) -> bool {
        let left = (self.left.checked_sub(1), self.bytes.checked_sub(bytes));
        if let (Some(left), Some(bytes)) = left {
            (self.left, self.bytes) = (left, bytes);
            return true;
        }
        // The first line that doesn't fit ends the list: nothing is left out of the middle.
        self.left = 0;
        self.omitted += 1;
        false
    }

    /// How many lines didn't fit.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_inodes_holds_for_the_configuration_and_for_the_checkpoint() {
        let Budget { inodes, beyond } = Budget::of(Some(8));
        assert_eq!((inodes, beyond), (8, 8));
        let Budget { inodes, beyond } = Budget::of(None);
        assert_eq!((inodes, beyond), (INODES, BEYOND));
    }

    #[test]
    fn lines_end_by_their_number_and_by_their_bytes() {
        let mut lines = Lines::default();
        assert!((0..LINES).all(|_| lines.take(1)));
        assert!(!lines.take(1) && !lines.take(1));
        assert_eq!(lines.omitted(), 2);
        let mut lines = Lines::default();
        assert!(lines.take(BYTES - 1) && !lines.take(2) && !lines.take(1));
        assert_eq!(lines.omitted(), 2);
    }
}
