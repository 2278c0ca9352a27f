// SPDX-License-Identifier: Apache-2.0
//! Where something is in a mount tree.

use crate::path::{RelPath, RelRef};

/// A mount of the tree; the rootfs is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountId(pub(super) usize);

impl MountId {
    /// The rootfs.
    pub const ROOT: Self = Self(0);

    /// The root of this mount.
    pub fn root(self) -> Place {
        Place {
            mount: self,
            path: RelPath::default(),
        }
    }
}

/// A place in a mount: where it is from the mount's own root, all links resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The mount.
    pub mount: MountId,
    /// The path in it; empty for its root.
    pub path: RelPath,
}

impl Place {
    /// The path, borrowed.
    pub fn view(&self) -> RelRef<'_> {
        self.path.view()
    }
}
