// SPDX-License-Identifier: Apache-2.0
//! Paths that will be there, name by name: what is shared by many, or is very deep, is known once.

use std::collections::BTreeMap;

use crate::mount::MountpointKind;

/// Paths below one directory, each with what it will be.
#[derive(Debug)]
pub struct Names {
    kinds: Vec<Option<MountpointKind>>,
    children: BTreeMap<(usize, Box<[u8]>), usize>,
}

/// One of the paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameId(usize);

impl NameId {
    /// The directory itself.
    pub const TOP: Self = Self(0);
}

impl Default for Names {
    fn default() -> Self {
        Self {
            kinds: vec![None],
            children: BTreeMap::new(),
        }
    }
}

impl Names {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The path by this name in another.
    pub fn child(&self, parent: NameId, name: &[u8]) -> Option<NameId> {
        // A map finds by what it owns: the name is short.
        let key = (parent.0, Box::from(name));
        self.children.get(&key).map(|&id| NameId(id))
    }

    /// What a path will be.
    pub fn kind(&self, id: NameId) -> Option<MountpointKind> {
        self.kinds.get(id.0).copied().flatten()
    }

    /// The path by this name in another, which may be new.
    pub fn add(&mut self, parent: NameId, name: &[u8]) -> NameId {
        let kinds = &mut self.kinds;
        let id = self.children.entry((parent.0, Box::from(name)));
        NameId(*id.or_insert_with(|| {
            kinds.push(None);
            kinds.len() - 1
        }))
    }

    /// Says what a path will be.
    pub fn set(&mut self, id: NameId, kind: MountpointKind) {
        if let Some(place) = self.kinds.get_mut(id.0) {
            *place = Some(kind);
        }
    }

    /// What will be at a path of plain components.
    pub fn get(&self, path: &[u8]) -> Option<MountpointKind> {
        if self.is_empty() {
            return None;
        }
        let mut at = NameId::TOP;
        for name in components(path) {
            at = self.child(at, name)?;
        }
        self.kind(at)
    }
}

/// The components of a path.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_was_said_of_it() {
        let mut names = Names::default();
        assert_eq!(names.get(b"a/b"), None);
        let a = names.add(NameId::TOP, b"a");
        let b = names.add(a, b"b");
        names.set(b, MountpointKind::File);
        assert_eq!(names.get(b"a"), None);
        assert_eq!(names.get(b"a/b"), Some(MountpointKind::File));
        assert_eq!(names.get(b"a/b/c"), None);
        assert_eq!(names.add(a, b"b"), b);
        names.set(a, MountpointKind::Directory);
        assert_eq!(names.get(b"a"), Some(MountpointKind::Directory));
        assert_eq!(names.get(b""), None);
        assert_eq!(names.child(NameId::TOP, b"b"), None);
    }
}
