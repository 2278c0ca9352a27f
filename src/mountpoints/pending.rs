// SPDX-License-Identifier: Apache-2.0
//! What isn't there yet: the inodes that a plan is to create, each once, whatever number of mounts and open files needs it.

use std::collections::BTreeMap;

use super::failure::Cause;
use super::host_place::HostPlace;
use crate::oci::process::User;
use crate::path::{Name, RelRef};
use crate::sys::NewKind;

/// Paths below one directory, name by name, each with a value or without.
#[derive(Debug)]
pub struct PathTree<T> {
    nodes: Vec<Node<T>>,
    children: BTreeMap<(usize, Box<[u8]>), usize>,
}

#[derive(Debug)]
struct Node<T> {
    parent: usize,
    value: Option<T>,
}

/// A path of a [`PathTree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(usize);

impl NodeId {
    /// The directory itself.
    pub const TOP: Self = Self(0);
}

impl<T> Default for PathTree<T> {
    fn default() -> Self {
        let top = Node {
            parent: 0,
            value: None,
        };
        Self {
            nodes: vec![top],
            children: BTreeMap::new(),
        }
    }
}

impl<T> PathTree<T> {
    /// Whether there is no path.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The path that `name` leads to from another.
    pub fn child(&self, parent: NodeId, name: Name) -> Option<NodeId> {
        // A map finds by what it owns; the name is short.
        let key = (parent.0, Box::from(name.as_bytes()));
        self.children.get(&key).map(|&id| NodeId(id))
    }

    /// All paths that one more name leads to, in the order of the names.
    pub fn children(&self, parent: NodeId) -> impl Iterator<Item = (Name<'_>, NodeId)> {
        let key = |id: usize| (id, Box::from(&b""[..]));
        let all = self.children.range(key(parent.0)..key(parent.0 + 1));
        all.filter_map(|((_, name), &id)| Some((Name::new(name)?, NodeId(id))))
    }

    /// The path that `name` leads to from another; added if it is new.
    pub fn add(&mut self, parent: NodeId, name: Name) -> NodeId {
        let nodes = &mut self.nodes;
        let id = self.children.entry((parent.0, Box::from(name.as_bytes())));
        NodeId(*id.or_insert_with(|| {
            nodes.push(Node {
                parent: parent.0,
                value: None,
            });
            nodes.len() - 1
        }))
    }

    /// The path that one name less leads to; itself for the directory itself.
    pub fn parent(&self, id: NodeId) -> NodeId {
        NodeId(self.nodes.get(id.0).map_or(0, |node| node.parent))
    }

    /// The value of a path.
    pub fn value(&self, id: NodeId) -> Option<&T> {
        self.nodes.get(id.0)?.value.as_ref()
    }

    /// The value of a path, to change it.
    pub fn value_mut(&mut self, id: NodeId) -> Option<&mut T> {
        self.nodes.get_mut(id.0)?.value.as_mut()
    }

    /// Gives a path a value.
    pub fn set(&mut self, id: NodeId, value: T) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.value = Some(value);
        }
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.nodes.iter().filter_map(|node| node.value.as_ref())
    }

    /// The value at a path.
    pub fn get(&self, path: RelRef) -> Option<&T> {
        if self.is_empty() {
            return None;
        }
        let mut at = NodeId::TOP;
        for name in path.names() {
            at = self.child(at, name)?;
        }
        self.value(at)
    }
}

/// An inode that isn't there yet.
#[derive(Clone, Copy, Debug)]
pub struct PendingInode {
    /// What it has to be.
    pub kind: NewKind,
    /// Its permissions, if the checkpoint has them.
    pub mode: Option<u32>,
    /// Who creates it.
    pub maker: MakerId,
    /// What needs it first.
    pub need: Need,
    /// What became of it.
    pub made: Made,
}

impl PendingInode {
    /// The mode that it is created with.
    pub fn mode(&self) -> u32 {
        self.mode.unwrap_or(match self.kind {
            NewKind::Directory => 0o755,
            NewKind::File | NewKind::Fifo => 0o644,
        })
    }
}

/// What needs an inode, by its index in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A mount: its mountpoint.
    Mount(usize),
    /// An open file.
    File(usize),
}

/// Who creates an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The runtime, as the container's root.
    Runtime,
    /// A task of the container, with these IDs on the host.
    Task {
        /// The one that holds it, or the container's user.
        user: User,
        /// The container's user, if that is root: it can have created what the task could not.
        root: Option<User>,
    },
}

/// A [`Maker`], by its index in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MakerId(pub usize);

impl MakerId {
    /// [`Maker::Runtime`].
    pub const RUNTIME: Self = Self(0);
}

/// What became of a [`PendingInode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Nothing so far.
    NotYet,
    /// It has been created.
    Created,
    /// Somebody else has created it in the meantime.
    Found,
    /// It can't be created.
    Failed(Cause),
}

/// A directory that is there, and what is to be created below it.
#[derive(Debug)]
pub struct PendingTree {
    /// The directory's device and inode number.
    pub identity: (u64, u64),
    /// What is to be created.
    pub inodes: PathTree<PendingInode>,
    /// Why nothing can be created: the directory is out of reach, at this place.
    pub unreachable: Option<(HostPlace, Cause)>,
}

/// An inode of a [`PendingTree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingId {
    tree: usize,
    node: NodeId,
}

/// All that a plan is to create.
///
/// One directory can show up in several places, through two sources or two mounts of one source: so this
/// goes by where the host has it.
#[derive(Debug, Default)]
pub struct Pending {
    trees: Vec<PendingTree>,
    by_identity: BTreeMap<(u64, u64), usize>,
}

impl PendingId {
    /// The number of the tree that it is in.
    pub fn tree(self) -> usize {
        self.tree
    }
}

impl Pending {
    /// Whether there is nothing to create.
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// What is to be created below the directory `identity`.
    pub fn below(&self, identity: (u64, u64)) -> Option<&PathTree<PendingInode>> {
        let &tree = self.by_identity.get(&identity)?;
        self.trees.get(tree).map(|tree| &tree.inodes)
    }

    /// [`Pending::below`], to add to it, with the number of the tree.
    pub fn tree_at(
        &mut self,
        identity: (u64, u64),
    ) -> Option<(usize, &mut PathTree<PendingInode>)> {
        let trees = &mut self.trees;
        let tree = *self.by_identity.entry(identity).or_insert_with(|| {
            trees.push(PendingTree {
                identity,
                inodes: PathTree::default(),
                unreachable: None,
            });
            trees.len() - 1
        });
        let found = self.trees.get_mut(tree)?;
        Some((tree, &mut found.inodes))
    }

    /// Drops what only others need.
    pub fn keep(&mut self, is_kept: impl Fn(Need) -> bool) {
        for tree in &mut self.trees {
            for node in &mut tree.inodes.nodes {
                node.value = node.value.filter(|inode| is_kept(inode.need));
            }
        }
    }

    /// Who creates an inode.
    pub fn maker(&self, id: PendingId) -> Option<MakerId> {
        let tree = self.trees.get(id.tree)?;
        tree.inodes.value(id.node).map(|inode| inode.maker)
    }

    /// Gives an inode the permissions that the checkpoint has for it, if it has none yet.
    pub fn set_mode(&mut self, id: PendingId, mode: u32) {
        let tree = self.trees.get_mut(id.tree);
        if let Some(inode) = tree.and_then(|tree| tree.inodes.value_mut(id.node)) {
            inode.mode.get_or_insert(mode);
        }
    }

    /// An inode, by the number of its tree.
    pub fn id(tree: usize, node: NodeId) -> PendingId {
        PendingId { tree, node }
    }

    /// How many directories something is missing in.
    pub fn count(&self) -> usize {
        self.trees.len()
    }

    /// A directory that something is missing in, by its number.
    pub fn tree_mut(&mut self, tree: usize) -> Option<&mut PendingTree> {
        self.trees.get_mut(tree)
    }

    /// The inode, and those that it lies in, up to the directory that is there.
    pub fn upwards(&self, id: PendingId) -> impl Iterator<Item = &PendingInode> {
        let tree = self.trees.get(id.tree).map(|tree| &tree.inodes);
        let nodes = std::iter::successors(Some(id.node), move |&node| {
            tree.map(|tree| tree.parent(node))
        });
        let nodes = nodes.take_while(|&node| node != NodeId::TOP);
        nodes.filter_map(move |node| tree?.value(node))
    }

    /// Why the tree that an inode is in can't be reached.
    pub fn unreachable(&self, id: PendingId) -> Option<&(HostPlace, Cause)> {
        self.trees.get(id.tree)?.unreachable.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rel(path: &str) -> RelRef<'_> {
        RelRef::new(path.as_bytes()).unwrap()
    }

    fn name(name: &str) -> Name<'_> {
        Name::new(name.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_has_the_value_that_it_was_given() {
        let mut paths = PathTree::default();
        assert!(paths.is_empty() && paths.get(rel("a/b")).is_none());
        let a = paths.add(NodeId::TOP, name("a"));
        let b = paths.add(a, name("b"));
        paths.set(b, 1);
        assert!(paths.get(rel("a")).is_none());
        assert_eq!(paths.get(rel("a/b")), Some(&1));
        assert!(paths.get(rel("a/b/c")).is_none());
        assert_eq!(paths.add(a, name("b")), b);
        paths.set(a, 2);
        assert_eq!(paths.get(rel("a")), Some(&2));
        assert!(paths.get(rel("")).is_none());
        assert_eq!(paths.child(NodeId::TOP, name("b")), None);
        assert_eq!((paths.parent(b), paths.parent(a)), (a, NodeId::TOP));
    }

    #[test]
    fn children_come_in_the_order_of_their_names() {
        let mut paths = PathTree::<()>::default();
        let b = paths.add(NodeId::TOP, name("b"));
        paths.add(b, name("x"));
        paths.add(NodeId::TOP, name("c"));
        paths.add(NodeId::TOP, name("a"));
        let of = |parent| {
            let all = paths.children(parent);
            all.map(|(name, _)| name.as_bytes()).collect::<Vec<_>>()
        };
        assert_eq!(of(NodeId::TOP), [b"a", b"b", b"c"]);
        assert_eq!(of(b), [b"x"]);
    }
}
