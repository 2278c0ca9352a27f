// SPDX-License-Identifier: Apache-2.0
//! One pass through everything missing below a directory that exists.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use tracing::info;

use super::creator::{Creator, Face};
use crate::escape::Quoted;
use crate::log::{self, TARGET};
use crate::mountpoints::budget::Lines;
use crate::mountpoints::failure::Cause;
use crate::mountpoints::host_place::{HostPlace, SourceId};
use crate::mountpoints::pending::{
    Made, MakerId, Need, NodeId, PathTree, PendingInode, PendingTree,
};
use crate::mountpoints::plan::Plan;
use crate::mountpoints::sources::Sources;
use crate::path::{Name, RelPath, RelRef};
use crate::sys::{self, InodeKind, MountpointKind, NewKind};

/// How many directories of one pass stay open at once; others are opened anew.
const OPEN_AT_ONCE: usize = 8;

/// One pass through everything missing below a directory that exists.
///
/// The container may move a directory while it is open here, but only within what it can already write to; and
/// what is created there it could have created itself.
pub(super) struct Pass<'a, 'b> {
    pub(super) sources: &'a mut Sources,
    pub(super) creator: &'a mut Creator<'b>,
    /// Without its sources and what is pending.
    pub(super) plan: &'a Plan,
    pub(super) lines: &'a mut Lines,
    /// The directory.
    pub(super) base: HostPlace,
    /// Where the pass is, as a path in the source.
    pub(super) path: RelPath,
    /// The last directory that one without all power was found to reach.
    pub(super) reached: Option<(Face, RelPath)>,
}

/// A directory of a pass.
struct Frame {
    directory: Directory,
    /// Whether this one has capabilities over it, once that is known.
    has_power: Option<(Face, bool)>,
    /// What remains to be created in it; the next one is last.
    todo: Vec<(Vec<u8>, NodeId)>,
}

enum Directory {
    /// The source itself, which the sources keep open.
    Source,
    Open(OwnedFd),
    /// To be opened anew.
    Closed,
}

/// Whether an inode is new.
#[derive(PartialEq)]
enum Outcome {
    New,
    Found,
}

impl Frame {
    fn new(inodes: &PathTree<PendingInode>, node: NodeId, directory: Directory) -> Self {
        let all = inodes.children(node);
        let mut todo: Vec<_> = all
            .map(|(name, node)| (name.as_bytes().to_vec(), node))
            .collect();
        todo.reverse();
        Self {
            directory,
            has_power: None,
            todo,
        }
    }
}

impl Pass<'_, '_> {
    /// Creates everything, and records what failed. The error is that of the base directory, with its place.
    pub(super) fn run(mut self, tree: &mut PendingTree) -> Result<(), (HostPlace, Cause)> {
        let directory = self.open_base(tree)?;
        let inodes = &mut tree.inodes;
        let mut stack = vec![Frame::new(inodes, NodeId::TOP, directory)];
        while let Some(frame) = stack.last_mut() {
            let Some((name, node)) = frame.todo.pop() else {
                stack.pop();
                self.path.pop();
                continue;
            };
            // None: it is no longer needed.
            let (Some(name), Some(&inode)) = (Name::new(&name), inodes.value(node)) else {
                continue;
            };
            let goes_on = inodes.children(node).next().is_some();
            let made = self.create_one(frame, name, inode, !goes_on);
            self.path.push(name);
            if made == Ok(Outcome::New) {
                self.note(inode);
            }
            let opened = match made {
                Ok(_) if goes_on => self
                    .open_child(frame, name, Face::Maker(inode.maker))
                    .map(Some),
                Ok(_) => Ok(None),
                Err(cause) => Err(cause),
            };
            if let Some(inode) = inodes.value_mut(node) {
                inode.made = match (&opened, &made) {
                    (Err(cause), _) | (_, Err(cause)) => Made::Failed(*cause),
                    (_, Ok(Outcome::New)) => Made::Created,
                    (_, Ok(Outcome::Found)) => Made::Found,
                };
            }
            let Ok(Some(child)) = opened else {
                self.path.pop();
                continue;
            };
            if frame.todo.is_empty() {
                // Done with it: a long path needs only one open directory at a time.
                frame.directory = Directory::Closed;
            }
            let oldest = stack.len().checked_sub(OPEN_AT_ONCE);
            if let Some(frame) = oldest.and_then(|oldest| stack.get_mut(oldest)) {
                frame.directory = Directory::Closed;
            }
            stack.push(Frame::new(inodes, node, Directory::Open(child)));
        }
        Ok(())
    }

    /// Opens the base directory. It must be the one that the plan looked at: nothing is created in another one that
    /// was moved here since.
    fn open_base(&mut self, tree: &PendingTree) -> Result<Directory, (HostPlace, Cause)> {
        let identity = tree.identity;
        let base = self.base.clone();
        let at_base = |cause| (base.clone(), cause);
        self.creator.look_around().map_err(at_base)?;
        let (directory, found) = if base.view().is_root() {
            let found = self.sources.identity(base.source).map_err(at_base)?;
            (Directory::Source, found)
        } else {
            let opened = self.sources.open_directory(base.source, base.view());
            let opened = opened.map_err(at_base)?;
            let inode = sys::inode(opened.as_fd()).map_err(Cause::system("fstat"));
            let found = inode.map_err(at_base)?.identity;
            (Directory::Open(opened), found)
        };
        if found != identity {
            return Err(at_base(Cause::Changed));
        }
        // A task may reach it all the same; then it is asked when it creates something.
        let of_runtime = tree
            .inodes
            .values()
            .any(|inode| inode.maker == MakerId::RUNTIME);
        if of_runtime {
            self.reach(Face::RUNTIME, &base.path)?;
        }
        Ok(directory)
    }

    /// Checks that this one could reach a directory: it needs search permission on all above it.
    fn reach(&mut self, face: Face, directory: &RelPath) -> Result<(), (HostPlace, Cause)> {
        if self.creator.has_all_power(face) {
            return Ok(());
        }
        let reached = self.reached.take().filter(|(of, _)| *of == face);
        let mut known = reached.filter(|(_, reached)| directory.view().is_in(reached.view()));
        let source = self.base.source;
        let from = known
            .as_ref()
            .map_or(0, |(_, known)| known.view().depth() + 1);
        let mut ancestors: Vec<_> = directory.view().ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors.into_iter().skip(from) {
            let at = source.at(ancestor);
            self.search(face, &at).map_err(|cause| (at, cause))?;
            known = Some((face, ancestor.to_owned()));
        }
        self.reached = known;
        Ok(())
    }

    fn search(&mut self, face: Face, at: &HostPlace) -> Result<(), Cause> {
        self.creator.look_around()?;
        let mut directory = if at.view().is_root() {
            Directory::Source
        } else {
            Directory::Open(self.sources.open_directory(at.source, at.view())?)
        };
        let directory = opened(&mut directory, self.sources, at.source, at.view())?;
        let has_power = self.creator.has_power(face, directory)?;
        self.creator.take(face, has_power)?;
        sys::search(directory).map_err(Cause::system("openat"))
    }

    /// Creates one inode in the directory of a frame, or finds that it exists by now; if `is_leaf`, with the right
    /// kind.
    fn create_one(
        &mut self,
        frame: &mut Frame,
        name: Name,
        inode: PendingInode,
        is_leaf: bool,
    ) -> Result<Outcome, Cause> {
        let face = Face::Maker(inode.maker);
        let mut made = self.make(frame, name, inode, face);
        if let Err(Cause::System {
            errno: Errno::EACCES | Errno::EPERM,
            ..
        }) = made
        {
            if let Some(root) = self.creator.instead_of(face) {
                made = self.make(frame, name, inode, root);
            }
        }
        match made {
            Ok(()) => return Ok(Outcome::New),
            Err(Cause::System {
                errno: Errno::EEXIST,
                ..
            }) if !is_leaf => return Ok(Outcome::Found),
            Err(Cause::System {
                errno: Errno::EEXIST,
                ..
            }) => {}
            Err(cause) => return Err(cause),
        }
        let same_mount = self.sources.stays_in_mount(self.base.source);
        let parent = self.enter(frame, face)?;
        let there = sys::open_beneath(parent, name.as_path(), same_mount)
            .map_err(Cause::system("openat2"))?;
        let found = sys::inode(there.as_fd()).map_err(Cause::system("fstat"))?;
        match (found.kind, inode.kind.as_mountpoint()) {
            (InodeKind::Directory, MountpointKind::Directory)
            | (InodeKind::File, MountpointKind::File) => Ok(Outcome::Found),
            (InodeKind::Link, _) => Err(Cause::Changed),
            (_, needed) => Err(Cause::WrongKind { needed }),
        }
    }

    /// Creates one inode in the directory of a frame, in the name of `face`. Creates first and looks later: that also
    /// finds what another premount or the container created in between.
    fn make(
        &mut self,
        frame: &mut Frame,
        name: Name,
        inode: PendingInode,
        face: Face,
    ) -> Result<(), Cause> {
        if face != Face::RUNTIME {
            let directory = self.path.clone();
            self.reach(face, &directory).map_err(|(_, cause)| cause)?;
        }
        let parent = self.enter(frame, face)?;
        let mode = inode.mode();
        match inode.kind {
            NewKind::Directory => {
                sys::make_directory(parent, name, mode).map_err(Cause::system("mkdirat"))
            }
            NewKind::File => sys::make_file(parent, name, mode).map_err(Cause::system("openat")),
            NewKind::Fifo => sys::make_fifo(parent, name, mode).map_err(Cause::system("mknodat")),
        }
    }

    /// Opens a directory that was just created or found. The container may have replaced it. That is no escape: the
    /// replacement is in the same source, and nothing in it changes except what is created.
    fn open_child(&mut self, frame: &mut Frame, name: Name, face: Face) -> Result<OwnedFd, Cause> {
        let same_mount = self.sources.stays_in_mount(self.base.source);
        // The path already ends with the name.
        self.path.pop();
        let parent = if face == Face::RUNTIME {
            self.enter(frame, face)
        } else {
            // Whether a task gets through is asked when it creates something.
            self.enter_to_look(frame)
        };
        let opened = parent.and_then(|parent| {
            sys::open_directory_beneath(parent, name.as_path(), same_mount).map_err(|errno| {
                match errno {
                    Errno::ENOTDIR => Cause::NotADirectory,
                    // A plan never goes through a symlink: this one is new.
                    Errno::ELOOP => Cause::Changed,
                    errno => Cause::system("openat2")(errno),
                }
            })
        });
        self.path.push(name);
        opened
    }

    /// Opens the directory of a frame if necessary, and becomes `face`, with the capabilities that it has there.
    fn enter<'c>(&'c mut self, frame: &'c mut Frame, face: Face) -> Result<BorrowedFd<'c>, Cause> {
        if let Directory::Closed = frame.directory {
            self.creator.look_around()?;
            // Another directory may have taken its place.
            frame.has_power = None;
        }
        let source = self.base.source;
        let path = self.path.view();
        let directory = opened(&mut frame.directory, self.sources, source, path)?;
        let has_power = match frame.has_power {
            Some((of, has_power)) if of == face => has_power,
            _ => self.creator.has_power(face, directory)?,
        };
        frame.has_power = Some((face, has_power));
        self.creator.take(face, has_power)?;
        Ok(directory)
    }

    /// Opens the directory of a frame if necessary, with the powers of the caller.
    fn enter_to_look<'c>(&'c mut self, frame: &'c mut Frame) -> Result<BorrowedFd<'c>, Cause> {
        self.creator.look_around()?;
        if let Directory::Closed = frame.directory {
            frame.has_power = None;
        }
        let path = self.path.view();
        opened(&mut frame.directory, self.sources, self.base.source, path)
    }

    /// Logs the inode that was just created at the current path.
    fn note(&mut self, inode: PendingInode) {
        let name = self.plan.name_of(inode.need);
        if !self.lines.take(self.path.view().size() + name.len()) {
            return;
        }
        let source = self.base.source;
        let path = self.sources.host_path_in(source, self.path.view());
        let kind = inode.kind;
        let (at, quoted) = (Quoted(path.as_os_str().as_bytes()), Quoted(&name));
        match inode.need {
            Need::Mount(_) => log::about_mount("created", &name, Some(&path), || {
                info!(target: TARGET, "created {kind} path={at} mount={quoted}");
            }),
            Need::File(_) => log::about_file("created", &name, Some(&path), || {
                info!(target: TARGET, "created {kind} path={at} file={quoted}");
            }),
        }
    }
}

/// A directory of a source, opened if it isn't.
fn opened<'a>(
    directory: &'a mut Directory,
    sources: &'a mut Sources,
    source: SourceId,
    path: RelRef,
) -> Result<BorrowedFd<'a>, Cause> {
    if let Directory::Closed = directory {
        *directory = Directory::Open(sources.open_directory(source, path)?);
    }
    match &*directory {
        Directory::Open(directory) => Ok(directory.as_fd()),
        Directory::Source | Directory::Closed => sources.checked_root(source),
    }
}
