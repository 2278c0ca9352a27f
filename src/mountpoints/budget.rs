// SPDX-License-Identifier: Apache-2.0
//! How much one call may make and say. A configuration's destinations and a checkpoint's images are chosen
//! by tenants, and a few hundred KB of either can name millions of directories.

/// Most inodes that a configuration's mounts may lack. A runtime would make them one by one at the first
/// start; no container that is used has a thousand.
const INODES: usize = 100_000;
/// Most inodes that a checkpoint may want beyond the configuration, and most mounts of its own that are
/// looked at.
const BEYOND: usize = 10_000;
/// Most inodes that a report or a log names, and most bytes of their paths.
const LINES: usize = 10_000;
const BYTES: usize = 4 << 20;

/// What one call may make.
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
    /// A budget of so many inodes for each; that of every day where it isn't said.
    pub fn of(inodes: Option<usize>) -> Self {
        inodes.map_or_else(Self::default, |inodes| Self {
            inodes,
            beyond: inodes,
        })
    }
}

/// What one call may say of single inodes. The sum of all is said in any case.
#[derive(Debug)]
pub struct Lines {
    left: usize,
    bytes: usize,
    unsaid: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            left: LINES,
            bytes: BYTES,
            unsaid: 0,
        }
    }
}

impl Lines {
    /// Whether there is room for a line with so many bytes of a path; it is taken.
    pub fn take(&mut self, bytes: usize) -> bool {
        let left = (self.left.checked_sub(1), self.bytes.checked_sub(bytes));
        if let (Some(left), Some(bytes)) = left {
            (self.left, self.bytes) = (left, bytes);
            return true;
        }
        // One that is too long ends it: what is left out is the end, and not something in between.
        self.left = 0;
        self.unsaid += 1;
        false
    }

    /// How many had no room.
    pub fn unsaid(&self) -> usize {
        self.unsaid
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
        assert_eq!(lines.unsaid(), 2);
        let mut lines = Lines::default();
        assert!(lines.take(BYTES - 1) && !lines.take(2) && !lines.take(1));
        assert_eq!(lines.unsaid(), 2);
    }
}
