// SPDX-License-Identifier: Apache-2.0
//! Where something is on the host: in one of the sources, free of symlinks.

use crate::path::{RelPath, RelRef};

/// A directory or file of the host that the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(pub(super) usize);

/// A place on the host: in a source, free of symlinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlace {
    /// The source.
    pub source: SourceId,
    /// The path there.
    pub path: RelPath,
}

impl SourceId {
    /// A place in this source.
    pub fn at(self, path: RelRef) -> HostPlace {
        HostPlace {
            source: self,
            path: path.to_owned(),
        }
    }
}

impl HostPlace {
    /// The path, borrowed.
    pub fn view(&self) -> RelRef<'_> {
        self.path.view()
    }
}
