// SPDX-License-Identifier: Apache-2.0
//! A first start in memory: each mount's mountpoint is looked up and made as a runtime would, one
//! mount after the other, in a plain model of inodes and mounts. Deliberately another way to the
//! same end than premount's own: it plans nothing and knows no paths, only inodes.

use std::collections::{BTreeMap, HashMap};

use super::{Container, Listing, TreeEntry, What};

type InodeId = usize;
type MountIndex = usize;

enum ModelInode {
    Directory {
        entries: BTreeMap<String, InodeId>,
        parent: InodeId,
    },
    File {
        parent: InodeId,
    },
    Link(String),
}

struct Mounted {
    root: InodeId,
    at: Option<(MountIndex, InodeId)>,
}

/// How a mount of the container went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    Mounted,
    Failed,
}

/// What a first start makes of the container: its trees afterwards, and how each mount went.
pub fn first_start(container: &Container) -> (Vec<Listing>, Vec<Went>) {
    let mut kernel = Kernel {
        inodes: Vec::new(),
        mounts: Vec::new(),
        on: HashMap::new(),
    };
    let tops: Vec<InodeId> = container
        .trees
        .iter()
        .map(|tree| kernel.load(&tree.entries))
        .collect();
    kernel.mounts.push(Mounted {
        root: tops[0],
        at: None,
    });
    // What lies in a mount that failed to be placed is left alone, until another covers the place.
    let mut lost: Vec<String> = Vec::new();
    let below = |path: &str, top: &str| {
        top.is_empty() || path == top || path.starts_with(&format!("{top}/"))
    };
    let went = container.mounts.iter().map(|mount| {
        let root = match &mount.what {
            What::Bind { tree, path, .. } => kernel.find(tops[*tree], path),
            What::Tmpfs { .. } => kernel.new_directory(None),
        };
        let is_directory = matches!(kernel.inodes[root], ModelInode::Directory { .. });
        let destination = clean(&mount.destination);
        if lost.iter().any(|lost| below(&destination, lost)) {
            lost.push(destination);
            return Went::Failed;
        }
        let Ok((on, inode)) = kernel.make(&destination, is_directory) else {
            lost.push(destination);
            return Went::Failed;
        };
        lost.retain(|lost| !below(lost, &destination));
        if let What::Tmpfs { copy_up: true } = mount.what {
            kernel.copy((on, inode), root);
        }
        let right = matches!(kernel.inodes[inode], ModelInode::Directory { .. }) == is_directory;
        let id = kernel.mounts.len();
        kernel.mounts.push(Mounted {
            root,
            at: Some((on, inode)),
        });
        kernel.on.insert((on, inode), id);
        if right { Went::Mounted } else { Went::Failed }
    });
    let went = went.collect();
    let listings = tops.iter().map(|&top| kernel.listing(top)).collect();
    (listings, went)
}

/// A destination by the letter, as runc cleans it.
pub fn clean(destination: &str) -> String {
    let mut names = Vec::new();
    for name in destination.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            _ => names.push(name),
        }
    }
    names.join("/")
}

struct Kernel {
    inodes: Vec<ModelInode>,
    mounts: Vec<Mounted>,
    /// What is mounted on an inode, as one sees it in a mount.
    on: HashMap<(MountIndex, InodeId), MountIndex>,
}

struct Failed;

impl Kernel {
    fn new_directory(&mut self, parent: Option<InodeId>) -> InodeId {
        let id = self.inodes.len();
        let parent = parent.unwrap_or(id);
        self.inodes.push(ModelInode::Directory {
            entries: BTreeMap::new(),
            parent,
        });
        id
    }

    fn add(&mut self, parent: InodeId, name: &str, is_directory: bool) -> InodeId {
        let id = if is_directory {
            self.new_directory(Some(parent))
        } else {
            self.inodes.push(ModelInode::File { parent });
            self.inodes.len() - 1
        };
        self.link(parent, name, id);
        id
    }

    fn link(&mut self, parent: InodeId, name: &str, id: InodeId) {
        if let ModelInode::Directory { entries, .. } = &mut self.inodes[parent] {
            entries.insert(name.to_owned(), id);
        }
    }

    fn load(&mut self, entries: &[(String, TreeEntry)]) -> InodeId {
        let top = self.new_directory(None);
        for (path, entry) in entries {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let parent = self.find(top, parent);
            match entry {
                TreeEntry::Directory => drop(self.add(parent, name, true)),
                TreeEntry::File => drop(self.add(parent, name, false)),
                TreeEntry::Link(text) => {
                    self.inodes.push(ModelInode::Link(text.clone()));
                    self.link(parent, name, self.inodes.len() - 1);
                }
            }
        }
        top
    }

    fn child(&self, parent: InodeId, name: &str) -> Option<InodeId> {
        match &self.inodes[parent] {
            ModelInode::Directory { entries, .. } => entries.get(name).copied(),
            _ => None,
        }
    }

    /// A path on the host, that is there and has no links.
    fn find(&self, top: InodeId, path: &str) -> InodeId {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(top, |at, name| self.child(at, name).unwrap())
    }

    /// Through all that is mounted on it.
    fn top(&self, mut at: (MountIndex, InodeId)) -> (MountIndex, InodeId) {
        while let Some(&mount) = self.on.get(&at) {
            at = (mount, self.mounts[mount].root);
        }
        at
    }

    /// Looks up a path, and makes what is missing of it.
    fn make(&mut self, path: &str, is_directory: bool) -> Result<(MountIndex, InodeId), Failed> {
        let root = self.top((0, self.mounts[0].root));
        let mut at = root;
        let mut missing: Vec<String> = Vec::new();
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name.is_empty() || name == "." {
                continue;
            }
            if !matches!(self.inodes[at.1], ModelInode::Directory { .. }) {
                return Err(Failed);
            }
            if name == ".." {
                if missing.pop().is_none() {
                    at = self.up(at);
                }
                continue;
            }
            if !missing.is_empty() {
                missing.push(name);
                continue;
            }
            let Some(child) = self.child(at.1, &name) else {
                missing.push(name);
                continue;
            };
            if let ModelInode::Link(text) = &self.inodes[child] {
                links += 1;
                if links > 40 {
                    return Err(Failed);
                }
                if text.starts_with('/') {
                    at = root;
                }
                rest.extend(text.split('/').rev().map(str::to_owned));
            } else {
                at = self.top((at.0, child));
            }
        }
        let last = missing.len();
        for (index, name) in missing.iter().enumerate() {
            at.1 = self.add(at.1, name, is_directory || index + 1 < last);
        }
        Ok(at)
    }

    fn up(&self, mut at: (MountIndex, InodeId)) -> (MountIndex, InodeId) {
        while at.1 == self.mounts[at.0].root {
            match self.mounts[at.0].at {
                Some(below) => at = below,
                None => return self.top(at),
            }
        }
        match &self.inodes[at.1] {
            ModelInode::Directory { parent, .. } | ModelInode::File { parent } => {
                self.top((at.0, *parent))
            }
            ModelInode::Link(_) => at,
        }
    }

    /// Copies what one sees in a directory, with what is mounted in it.
    fn copy(&mut self, from: (MountIndex, InodeId), to: InodeId) {
        let ModelInode::Directory { entries, .. } = &self.inodes[from.1] else {
            return;
        };
        for (name, child) in entries.clone() {
            if let ModelInode::Link(text) = &self.inodes[child] {
                let link = ModelInode::Link(text.clone());
                self.inodes.push(link);
                self.link(to, &name, self.inodes.len() - 1);
                continue;
            }
            let seen = self.top((from.0, child));
            let is_directory = matches!(self.inodes[seen.1], ModelInode::Directory { .. });
            let copy = self.add(to, &name, is_directory);
            self.copy(seen, copy);
        }
    }

    fn listing(&self, top: InodeId) -> Listing {
        let mut found = Listing::new();
        self.list(top, "", &mut found);
        found
    }

    fn list(&self, at: InodeId, path: &str, found: &mut Listing) {
        let ModelInode::Directory { entries, .. } = &self.inodes[at] else {
            return;
        };
        for (name, &child) in entries {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}/{name}")
            };
            let entry = match &self.inodes[child] {
                ModelInode::Directory { .. } => TreeEntry::Directory,
                ModelInode::File { .. } => TreeEntry::File,
                ModelInode::Link(text) => TreeEntry::Link(text.clone()),
            };
            found.insert(path.clone(), entry);
            self.list(child, &path, found);
        }
    }
}
