// SPDX-License-Identifier: Apache-2.0
//! The last step: makes what a plan found missing. It never opens, empties, replaces or changes
//! anything that is there, and follows no link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use tracing::info;

use crate::budget::Lines;
use crate::error::{Cause, Failure};
use crate::escape::Quoted;
use crate::hosts::{HostId, Hosts};
use crate::log::{self, TARGET};
use crate::mount::MountpointKind;
use crate::owner::{Mapped, Owner};
use crate::path::component_ends;
use crate::plan::{Missing, Plan, PlannedMount, Status};
use crate::sys::{self, InodeKind, Powers};

/// What became of a mount of the plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was created for it, outermost first.
    pub created: Vec<Created>,
    /// Why its mountpoint isn't there.
    pub failure: Option<Failure>,
}

/// A new inode.
#[derive(Clone, Copy, Debug)]
pub struct Created {
    /// The end of its path in the path of the mountpoint ([`Missing::path`]).
    pub end: usize,
    /// What it is.
    pub kind: MountpointKind,
}

/// Makes all that can be made, in the order of the plan; an outcome for each of its mounts.
pub fn create(plan: &mut Plan, owner: &Owner) -> Vec<Outcome> {
    let Plan { mounts, hosts, .. } = plan;
    if !mounts
        .iter()
        .any(|planned| matches!(planned.status, Status::Missing(_)))
    {
        return outcomes_of(plan);
    }
    sys::reset_umask();
    let mut ready = Creator::new(owner);
    let mut kept = None;
    let mut lines = Lines::default();
    let mut make = |planned: &PlannedMount| -> Outcome {
        let mount = planned.mount.written.as_bytes();
        match &planned.status {
            Status::Missing(missing) => {
                let kind = planned.kind.unwrap_or(MountpointKind::Directory);
                let mut created = Vec::new();
                let made = match &mut ready {
                    Ok(creator) => Making {
                        hosts: &mut *hosts,
                        creator,
                        mount,
                        missing,
                        kept: &mut kept,
                        lines: &mut lines,
                        created: &mut created,
                    }
                    .make(kind),
                    Err(cause) => Err((missing.path.len(), *cause)),
                };
                let failure = made.err().map(|(end, cause)| {
                    let path = missing.path.get(..end).unwrap_or_default();
                    let host_path = Some(hosts.path(missing.host, path));
                    Failure {
                        mount: mount.to_owned(),
                        host_path,
                        cause,
                    }
                });
                Outcome { created, failure }
            }
            status => Outcome {
                created: Vec::new(),
                failure: status.failure().cloned(),
            },
        }
    };
    let outcomes = mounts.iter().map(&mut make).collect();
    if lines.unsaid() > 0 {
        info!(target: TARGET, "created {} more that are not listed", lines.unsaid());
    }
    outcomes
}

/// In whose name all of it is made, with what powers.
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

    /// Takes the powers of the container's root over what is in `directory`: over an inode whose owner or
    /// group its user namespace has no number for it has none but those of its user and group.
    fn face(&mut self, directory: BorrowedFd) -> Result<(), Cause> {
        let (Some(mapped), Some(powers)) = (self.mapped, &mut self.powers) else {
            return Ok(());
        };
        let access = sys::access(directory).map_err(Cause::system("fstat"))?;
        powers
            .set(mapped.has(access.uid, access.gid))
            .map_err(Cause::system("capset"))
    }

    /// Takes the powers of the caller, to look.
    fn look_around(&mut self) -> Result<(), Cause> {
        match &mut self.powers {
            Some(powers) => powers.set(true).map_err(Cause::system("capset")),
            None => Ok(()),
        }
    }
}

/// The outcomes of a plan that stays one.
pub fn outcomes_of(plan: &Plan) -> Vec<Outcome> {
    let failure = |planned: &PlannedMount| planned.status.failure().cloned();
    let outcome = |planned| Outcome {
        created: Vec::new(),
        failure: failure(planned),
    };
    plan.mounts.iter().map(outcome).collect()
}

/// The directory that the last mountpoint was made in: the next is often its neighbour.
///
/// The container may have moved it meanwhile, as it may between any two steps of one path; to no place but
/// its own, and what is made there is what it could have made itself.
struct Kept {
    host: HostId,
    /// The directory below which it was made.
    identity: (u64, u64),
    /// How much of the path was there.
    existing: usize,
    path: Vec<u8>,
    directory: OwnedFd,
}

struct Making<'a, 'b> {
    hosts: &'a mut Hosts,
    creator: &'a mut Creator<'b>,
    mount: &'a [u8],
    missing: &'a Missing,
    kept: &'a mut Option<Kept>,
    lines: &'a mut Lines,
    created: &'a mut Vec<Created>,
}

impl Making<'_, '_> {
    /// Makes the directories that are missing, and the mountpoint itself as a `kind`. The error has
    /// the end of the path that it is about.
    fn make(&mut self, kind: MountpointKind) -> Result<(), (usize, Cause)> {
        if let Some(kept) = self.kept.take().filter(|kept| self.is_beside(kept)) {
            let made = self.make_from(kept.path.len(), Some(kept.directory), kind);
            // Gone since, perhaps: then all of the way once more.
            if made.is_ok() {
                return made;
            }
        }
        let Missing {
            host,
            path,
            existing,
            identity,
            ..
        } = self.missing;
        let existing = *existing;
        let at = |cause| (existing, cause);
        let base = path.get(..existing).unwrap_or_default();
        self.creator.look_around().map_err(at)?;
        // None: the root itself, which was what it has been when it was opened.
        let mut directory = None;
        let mut found = self.hosts.identity(*host);
        if existing > 0 {
            let base = self.hosts.directory(*host, base).map_err(at)?;
            let inode = sys::inode(base.as_fd())
                .map_err(Cause::system("fstat"))
                .map_err(at)?;
            found = Some(inode.identity);
            directory = Some(base);
        }
        // The plan judged this directory, its file system too: another one, moved here since, is
        // not ours to make anything in.
        if found != Some(*identity) {
            return Err(at(Cause::Changed));
        }
        self.go_through(existing)?;
        self.make_from(existing, directory, kind)
    }

    /// Whether the container's root could get to the directory that the first `existing` bytes of the path
    /// lead to: it has to go through all directories before it.
    fn go_through(&mut self, existing: usize) -> Result<(), (usize, Cause)> {
        if self.creator.mapped.is_none() {
            return Ok(());
        }
        let Missing { host, path, .. } = self.missing;
        let base = path.get(..existing).unwrap_or_default();
        for end in std::iter::once(0).chain(component_ends(base)) {
            let at = |cause| (end, cause);
            self.creator.look_around().map_err(at)?;
            let prefix = path.get(..end).unwrap_or_default();
            let opened = match end {
                0 => None,
                _ => Some(self.hosts.directory(*host, prefix).map_err(at)?),
            };
            let directory = match &opened {
                Some(directory) => directory.as_fd(),
                None => self.hosts.root(*host).map_err(at)?,
            };
            self.creator.face(directory).map_err(at)?;
            sys::search(directory)
                .map_err(Cause::system("openat"))
                .map_err(at)?;
        }
        Ok(())
    }

    /// Whether the mountpoint belongs into the directory that was kept.
    fn is_beside(&self, kept: &Kept) -> bool {
        let missing = self.missing;
        let parent = missing.path.iter().rposition(|&byte| byte == b'/');
        kept.host == missing.host
            && kept.identity == missing.identity
            && kept.existing == missing.existing
            && parent.is_some_and(|end| missing.path.get(..end) == Some(&kept.path))
    }

    /// Makes what is missing behind the first `existing` bytes of the path, which lead to `directory`
    /// (none: the root).
    fn make_from(
        &mut self,
        existing: usize,
        mut directory: Option<OwnedFd>,
        kind: MountpointKind,
    ) -> Result<(), (usize, Cause)> {
        let missing = self.missing;
        let path = &missing.path;
        let mut start = existing;
        for end in component_ends(path).filter(|&end| end > existing) {
            let name = path.get(start..end).unwrap_or_default();
            let name = name.strip_prefix(b"/").unwrap_or(name);
            let last = end == path.len();
            let kind = if last {
                kind
            } else {
                MountpointKind::Directory
            };
            let next = self
                .make_one(directory.as_ref(), name, end, kind)
                .map_err(|cause| (end, cause))?;
            if last {
                *self.kept = directory.map(|directory| Kept {
                    host: missing.host,
                    identity: missing.identity,
                    existing: missing.existing,
                    path: path.get(..start).unwrap_or_default().to_owned(),
                    directory,
                });
                break;
            }
            (directory, start) = (next, end);
        }
        Ok(())
    }

    /// Makes one inode in a directory (none: the root), or finds that it is there by now. Opens it if the
    /// path goes on.
    fn make_one(
        &mut self,
        directory: Option<&OwnedFd>,
        name: &[u8],
        end: usize,
        kind: MountpointKind,
    ) -> Result<Option<OwnedFd>, Cause> {
        let last = end == self.missing.path.len();
        let id = self.missing.host;
        let parent = match directory {
            Some(directory) => directory.as_fd(),
            None => self.hosts.root(id)?,
        };
        self.creator.face(parent)?;
        // Create first and look then: what came in between (another premount, the container) is
        // found by the same look.
        let (operation, made) = match kind {
            MountpointKind::Directory => ("mkdirat", sys::make_directory(parent, name)),
            MountpointKind::File => ("openat", sys::make_file(parent, name)),
        };
        match made {
            Ok(()) => self.note(end, kind),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Cause::System { operation, errno }),
        }
        if made.is_ok() && last {
            return Ok(None);
        }
        let same_mount = self.hosts.has_to_stay(id);
        let parent = match directory {
            Some(directory) => directory.as_fd(),
            None => self.hosts.root(id)?,
        };
        // A directory of the container's may stand here instead of ours by now. That is no escape:
        // it is in the same source, and nothing of it changes but what it gets as a child.
        if !last {
            let next = sys::open_directory_beneath(parent, name, same_mount);
            return next.map(Some).map_err(|errno| match errno {
                Errno::ENOTDIR => Cause::NotADirectory,
                // A link is never on the way of a plan: it was put there meanwhile.
                Errno::ELOOP => Cause::Changed,
                errno => Cause::System {
                    operation: "openat2",
                    errno,
                },
            });
        }
        let there =
            sys::open_beneath(parent, name, same_mount).map_err(Cause::system("openat2"))?;
        let found = sys::inode(there.as_fd()).map_err(Cause::system("fstat"))?;
        match (found.kind, kind) {
            (InodeKind::Directory, MountpointKind::Directory)
            | (InodeKind::File, MountpointKind::File) => Ok(None),
            (InodeKind::Link, _) => Err(Cause::Changed),
            (_, needed) => Err(Cause::WrongKind { needed }),
        }
    }

    fn note(&mut self, end: usize, kind: MountpointKind) {
        self.created.push(Created { end, kind });
        if !self.lines.take(end + self.mount.len()) {
            return;
        }
        let prefix = self.missing.path.get(..end).unwrap_or_default();
        let path = self.hosts.path(self.missing.host, prefix);
        log::about_mount("created", self.mount, Some(&path), || {
            let (path, mount) = (Quoted(path.as_os_str().as_bytes()), Quoted(self.mount));
            info!(target: TARGET, "created {kind} path={path} mount={mount}");
        });
    }
}
