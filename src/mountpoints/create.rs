// SPDX-License-Identifier: Apache-2.0
//! The last step: creates what a plan found missing. It never opens, empties, replaces or changes anything
//! that is there, and follows no link.
//!
//! One pass over each directory that something is missing in, in the order of the paths: so each directory
//! is opened once, in whatever order the mounts come.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use tracing::info;

use super::budget::Lines;
use super::failure::{Cause, Failure};
use super::pending::{Made, NodeId, PathTree, PendingInode, PendingTree};
use super::plan::{Missing, Plan, PlannedMount, Status};
use super::sources::{HostPlace, SourceId, Sources};
use crate::escape::Quoted;
use crate::log::{self, TARGET};
use crate::oci::owner::{Mapped, Owner};
use crate::path::{Name, RelPath, RelRef};
use crate::sys::{self, InodeKind, MountpointKind, Powers};

/// How many directories of one pass stay open at once; others are opened anew.
const OPEN_AT_ONCE: usize = 32;

/// Creates all that can be created, and notes in the plan what became of each mount.
pub fn create(plan: &mut Plan, owner: &Owner) {
    if plan.pending.is_empty() {
        return;
    }
    sys::reset_umask();
    let Plan {
        mounts,
        sources,
        pending,
        ..
    } = plan;
    let mut lines = Lines::default();
    let mut creator = Creator::new(owner);
    for tree in pending.trees_mut() {
        let made = match &mut creator {
            Ok(creator) => Pass {
                sources: &mut *sources,
                creator,
                mounts: mounts.as_slice(),
                lines: &mut lines,
                base: tree.base.clone(),
                path: tree.base.path.clone(),
            }
            .run(tree),
            Err(cause) => Err((tree.base.clone(), *cause)),
        };
        tree.unreachable = made.err();
    }
    if lines.unsaid() > 0 {
        info!(target: TARGET, "created {} more that are not listed", lines.unsaid());
    }
    for index in 0..plan.mounts.len() {
        if let Some(status) = plan.status_after(index) {
            if let Some(planned) = plan.mounts.get_mut(index) {
                planned.status = status;
            }
        }
    }
}

impl Plan {
    /// The status of a mount whose mountpoint was missing, now that all has been created.
    fn status_after(&self, index: usize) -> Option<Status> {
        let Status::Missing(missing) = &self.mounts.get(index)?.status else {
            return None;
        };
        Some(match self.failure_of(missing) {
            None => Status::Created(missing.clone()),
            Some(failure) => Status::NotCreated(missing.clone(), failure),
        })
    }

    fn failure_of(&self, missing: &Missing) -> Option<Failure> {
        if let Some((at, cause)) = self.pending.unreachable(missing.inode) {
            return Some(Failure {
                at: Some(at.clone()),
                cause: *cause,
            });
        }
        let inodes = self.pending.upwards(missing.inode);
        let mut failure = None;
        for (inode, path) in inodes.zip(missing.at.view().ancestors()) {
            let cause = match inode.made {
                // All that it lies in is there.
                Made::Created | Made::Found => break,
                Made::Failed(cause) => cause,
                // It lies in one that failed.
                Made::NotYet => Cause::Internal,
            };
            failure = Some(Failure {
                at: Some(missing.at.source.at(path)),
                cause,
            });
        }
        failure
    }
}

/// In whose name everything is created, and with what powers.
struct Creator<'a> {
    /// The users and groups that the container's root has power over; none: all.
    mapped: Option<&'a Mapped>,
    powers: Option<Powers>,
}

impl<'a> Creator<'a> {
    fn new(owner: &'a Owner) -> Result<Self, Cause> {
        let mapped = owner.mapped.as_ref();
        if mapped.is_none() && (owner.uid, owner.gid) == (0, 0) {
            return Ok(Self {
                mapped,
                powers: None,
            });
        }
        if mapped.is_some() {
            sys::leave_groups().map_err(Cause::system("setgroups"))?;
        }
        let powers = Powers::create_as(owner.uid, owner.gid).map_err(Cause::system("setfsuid"))?;
        Ok(Self {
            mapped,
            powers: Some(powers),
        })
    }

    /// Whether the container's root has power over what is in a directory: if its user namespace has no number
    /// for the owner or the group of an inode, it has no powers but those of its user and group.
    fn has_power(&self, directory: BorrowedFd) -> Result<bool, Cause> {
        let Some(mapped) = self.mapped else {
            return Ok(true);
        };
        let access = sys::access(directory).map_err(Cause::system("fstat"))?;
        Ok(mapped.has(access.uid, access.gid))
    }

    /// Takes the powers of the container's root, where it has power or has none.
    fn face(&mut self, has_power: bool) -> Result<(), Cause> {
        match &mut self.powers {
            Some(powers) => powers.set(has_power).map_err(Cause::system("capset")),
            None => Ok(()),
        }
    }

    /// Takes the powers of the caller, to look.
    fn look_around(&mut self) -> Result<(), Cause> {
        self.face(true)
    }
}

/// One pass through what is missing below a directory that is there.
///
/// The container may move a directory while it is open here, as it may between any two steps of one path: to
/// no place but its own, and what is created there is what it could have created itself.
struct Pass<'a, 'b> {
    sources: &'a mut Sources,
    creator: &'a mut Creator<'b>,
    mounts: &'a [PlannedMount],
    lines: &'a mut Lines,
    /// The directory.
    base: HostPlace,
    /// Where the pass is, as a path in the source.
    path: RelPath,
}

/// A directory of a pass.
struct Frame {
    directory: Directory,
    /// Whether the container's root has power over what is in it, once that is known.
    has_power: Option<bool>,
    /// What is to be created in it, the next one last.
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
    /// Creates all of it; what fails is noted there. The error is that of the directory that it all lies in,
    /// with where it came up.
    fn run(mut self, tree: &mut PendingTree) -> Result<(), (HostPlace, Cause)> {
        let directory = self.open_base(tree.identity)?;
        let inodes = &mut tree.inodes;
        let mut stack = vec![Frame::new(inodes, NodeId::TOP, directory)];
        while let Some(frame) = stack.last_mut() {
            let Some((name, node)) = frame.todo.pop() else {
                stack.pop();
                self.path.pop();
                continue;
            };
            // None: not wanted after all.
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
                Ok(_) if goes_on => self.open_child(frame, name).map(Some),
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
                // Nothing else is created in it: a long path takes one open directory at a time.
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

    /// Opens the directory that all of it lies in. It has to be the one that the plan judged, and its file
    /// system with it: nothing is created in another one that has been moved here since.
    fn open_base(&mut self, identity: (u64, u64)) -> Result<Directory, (HostPlace, Cause)> {
        let base = self.base.clone();
        let at_base = |cause| (base.clone(), cause);
        self.creator.look_around().map_err(at_base)?;
        let mut directory = Directory::Source;
        // The source itself was what it has been when it was opened.
        let mut found = self.sources.identity(base.source);
        if !base.view().is_root() {
            let opened = self.sources.open_directory(base.source, base.view());
            let opened = opened.map_err(at_base)?;
            let inode = sys::inode(opened.as_fd()).map_err(Cause::system("fstat"));
            found = Some(inode.map_err(at_base)?.identity);
            directory = Directory::Open(opened);
        }
        if found != Some(identity) {
            return Err(at_base(Cause::Changed));
        }
        self.go_through()?;
        Ok(directory)
    }

    /// Whether the container's root could get to the directory: it has to go through all that it lies in.
    fn go_through(&mut self) -> Result<(), (HostPlace, Cause)> {
        if self.creator.mapped.is_none() {
            return Ok(());
        }
        let HostPlace { source, path } = self.base.clone();
        let mut ancestors: Vec<_> = path.view().ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            let at = source.at(ancestor);
            self.search(&at).map_err(|cause| (at, cause))?;
        }
        Ok(())
    }

    fn search(&mut self, at: &HostPlace) -> Result<(), Cause> {
        self.creator.look_around()?;
        let mut directory = if at.view().is_root() {
            Directory::Source
        } else {
            Directory::Open(self.sources.open_directory(at.source, at.view())?)
        };
        let directory = opened(&mut directory, self.sources, at.source, at.view())?;
        let has_power = self.creator.has_power(directory)?;
        self.creator.face(has_power)?;
        sys::search(directory).map_err(Cause::system("openat"))
    }

    /// Creates one inode in the directory of a frame, or finds that it is there by now, and if `is_leaf` that it
    /// is of the right kind.
    fn create_one(
        &mut self,
        frame: &mut Frame,
        name: Name,
        inode: PendingInode,
        is_leaf: bool,
    ) -> Result<Outcome, Cause> {
        let parent = self.enter(frame)?;
        // Create first and look then: what came in between (another premount, the container) is found by the
        // same look.
        let (operation, made) = match inode.kind {
            MountpointKind::Directory => ("mkdirat", sys::make_directory(parent, name)),
            MountpointKind::File => ("openat", sys::make_file(parent, name)),
        };
        match made {
            Ok(()) => return Ok(Outcome::New),
            Err(Errno::EEXIST) if !is_leaf => return Ok(Outcome::Found),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Cause::System { operation, errno }),
        }
        let same_mount = self.sources.has_to_stay(self.base.source);
        let parent = self.enter(frame)?;
        let there = sys::open_beneath(parent, name.as_path(), same_mount)
            .map_err(Cause::system("openat2"))?;
        let found = sys::inode(there.as_fd()).map_err(Cause::system("fstat"))?;
        match (found.kind, inode.kind) {
            (InodeKind::Directory, MountpointKind::Directory)
            | (InodeKind::File, MountpointKind::File) => Ok(Outcome::Found),
            (InodeKind::Link, _) => Err(Cause::Changed),
            (_, needed) => Err(Cause::WrongKind { needed }),
        }
    }

    /// Opens a directory that has just been created or found. One of the container's may stand there by now
    /// instead of ours. That is no escape: it is in the same source, and nothing of it changes but what is
    /// created in it.
    fn open_child(&mut self, frame: &mut Frame, name: Name) -> Result<OwnedFd, Cause> {
        let same_mount = self.sources.has_to_stay(self.base.source);
        // The name is on the path already.
        self.path.pop();
        let parent = self.enter(frame);
        let opened = parent.and_then(|parent| {
            sys::open_directory_beneath(parent, name.as_path(), same_mount).map_err(|errno| {
                match errno {
                    Errno::ENOTDIR => Cause::NotADirectory,
                    // A link is never on the way of a plan: it was put there in the meantime.
                    Errno::ELOOP => Cause::Changed,
                    errno => Cause::system("openat2")(errno),
                }
            })
        });
        self.path.push(name);
        opened
    }

    /// The directory of a frame, open, with the powers of the container's root over what is in it.
    fn enter<'c>(&'c mut self, frame: &'c mut Frame) -> Result<BorrowedFd<'c>, Cause> {
        if let Directory::Closed = frame.directory {
            self.creator.look_around()?;
        }
        let source = self.base.source;
        let path = self.path.view();
        let directory = opened(&mut frame.directory, self.sources, source, path)?;
        let has_power = match frame.has_power {
            Some(has_power) => has_power,
            None => *frame.has_power.insert(self.creator.has_power(directory)?),
        };
        self.creator.face(has_power)?;
        Ok(directory)
    }

    /// Logs an inode that has been created, where the pass is.
    fn note(&mut self, inode: PendingInode) {
        let mount = self.mounts.get(inode.mount);
        let mount = mount.map_or(&b""[..], |planned| planned.mount.written.as_bytes());
        if !self.lines.take(self.path.view().len() + mount.len()) {
            return;
        }
        let source = self.base.source;
        let path = self.sources.host_path_in(source, self.path.view());
        let kind = inode.kind;
        log::about_mount("created", mount, Some(&path), || {
            let (path, mount) = (Quoted(path.as_os_str().as_bytes()), Quoted(mount));
            info!(target: TARGET, "created {kind} path={path} mount={mount}");
        });
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
        Directory::Source | Directory::Closed => sources.root(source),
    }
}
