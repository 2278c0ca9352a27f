// SPDX-License-Identifier: Apache-2.0
//! Makes the [`Plan`]: follows every mount of the configuration to its mountpoint, and then those that
//! only the checkpoint knows of. Looks only.

mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::budget::Budget;
use crate::checkpoint::InCheckpoint;
use crate::config::Config;
use crate::error::{Cause, Error, Failure};
use crate::hosts::{HostId, Hosts};
use crate::images::Namespace;
use crate::mount::{Content, LinkSource, Mount, MountpointKind};
use crate::names::NameId;
use crate::path::{NoPath, component_ends};
use crate::plan::{Missing, Origin, Plan, PlannedMount, Status};
use crate::sys::{self, FileSystem};
use crate::tree::{Backing, Found, MountId, MountTree, Place, There};
use crate::walk::Stopped;

/// How many directories up from a missing source one that is there is looked for.
const MOST_TO_COME: usize = 64;

impl Plan {
    /// Follows every mount of the configuration to its mountpoint, and finds what the checkpoint's mount
    /// namespaces need beyond that.
    pub fn new(config: Config, namespaces: &[Namespace], budget: Budget) -> Result<Self, Error> {
        let mut hosts = Hosts::default();
        let unreadable = |errno| Error::Unreadable {
            file: config.rootfs.clone(),
            operation: "open",
            errno,
        };
        let (root, kind) = hosts
            .add_rootfs(config.rootfs.clone())
            .map_err(unreadable)?;
        if kind != MountpointKind::Directory {
            return Err(Error::invalid(
                &config.rootfs,
                "",
                "the rootfs is not a directory",
            ));
        }
        let mut planner = Planner {
            tree: MountTree::new(hosts, root),
            lost: BTreeSet::new(),
            indexes: BTreeMap::new(),
            ids: BTreeMap::new(),
            mounts: Vec::with_capacity(config.mounts.len()),
            judged: None,
            inodes: budget.inodes,
        };
        for mount in config.mounts {
            planner.add(mount);
        }
        planner.inodes = budget.beyond;
        let masked = &config.externals.masked;
        let too_many = planner.add_checkpoint(namespaces, masked, root, budget.beyond);
        Ok(Self {
            rootfs: config.rootfs,
            too_many: too_many.then_some(budget.beyond),
            mounts: planner.mounts,
            hosts: planner.tree.hosts,
        })
    }
}

struct Planner {
    tree: MountTree,
    /// Destinations of mounts that are nowhere in the tree, since the way there failed.
    lost: BTreeSet<Vec<u8>>,
    /// The index in the configuration of a mount of the tree.
    indexes: BTreeMap<MountId, usize>,
    /// And the other way round, for those that have a place in the tree.
    ids: BTreeMap<usize, MountId>,
    mounts: Vec<PlannedMount>,
    /// The directory that something was last found missing in.
    judged: Option<Judged>,
    /// How many more inodes may be planned.
    inodes: usize,
}

/// A directory that something is missing in, and what it is.
#[derive(Clone)]
struct Judged {
    host: HostId,
    path: Vec<u8>,
    identity: (u64, u64),
    file_system: FileSystem,
}

impl Planner {
    fn add(&mut self, mount: Mount) {
        let planned = self.plan(mount);
        self.mounts.push(planned);
    }

    fn plan(&mut self, mount: Mount) -> PlannedMount {
        if let Some(reason) = mount.no_path {
            let cause = match reason {
                NoPath::TooLong => Cause::TooLong,
                NoPath::Nul => Cause::System {
                    operation: "openat2",
                    errno: Errno::EINVAL,
                },
            };
            return self.unplaced(mount, None, None, cause);
        }
        if let Some(text) = copied_link(&mount.content) {
            return self.plan_link(mount, text);
        }
        let (backing, kind) = self.open(&mount.content);
        let found = match self.walk(&mount, mount.follow) {
            Ok(found) => found,
            Err(stopped) => {
                self.lost.insert(mount.destination.relative().to_owned());
                return self.unplaced(mount, Some(&stopped.place), kind.ok(), stopped.cause);
            }
        };
        let status = match kind {
            Ok(kind) => self.judge(&mount, &found, kind),
            Err(errno) => Err((mount.source(), Cause::Source(errno))),
        };
        let status = status.unwrap_or_else(|(host_path, cause)| failed(&mount, host_path, cause));
        self.cover(mount.destination.relative());
        let id = self
            .tree
            .attach(&found, backing, kind.unwrap_or(MountpointKind::Directory));
        self.indexes.insert(id, self.mounts.len());
        self.ids.insert(self.mounts.len(), id);
        self.placed(mount, &found.place, kind.ok(), status)
    }

    /// A mount that crun makes a link of: nothing is mounted, and later mounts go through the link.
    fn plan_link(&mut self, mount: Mount, text: Vec<u8>) -> PlannedMount {
        let found = match self.walk(&mount, false) {
            Ok(found) => found,
            Err(stopped) => {
                return self.unplaced(mount, Some(&stopped.place), None, stopped.cause);
            }
        };
        if let There::Missing { .. } = found.there {
            self.tree.add_link(&found.place, text);
        }
        self.placed(mount, &found.place, None, Status::Link)
    }

    fn placed(
        &self,
        mount: Mount,
        place: &Place,
        kind: Option<MountpointKind>,
        status: Status,
    ) -> PlannedMount {
        PlannedMount {
            parent: self.indexes.get(&place.mount).copied(),
            resolved: self.tree.resolved(place),
            host_path: self.tree.host_path(place),
            kind,
            status,
            mount,
            origin: Origin::Configuration,
            in_checkpoint: InCheckpoint::NotLooked,
        }
    }

    /// A mount whose mountpoint is nowhere.
    fn unplaced(
        &self,
        mount: Mount,
        at: Option<&Place>,
        kind: Option<MountpointKind>,
        cause: Cause,
    ) -> PlannedMount {
        let host_path = at.and_then(|place| self.tree.host_path(place));
        PlannedMount {
            parent: at.and_then(|place| self.indexes.get(&place.mount).copied()),
            resolved: mount.destination.relative().to_owned(),
            host_path: None,
            kind,
            status: failed(&mount, host_path, cause),
            mount,
            origin: Origin::Configuration,
            in_checkpoint: InCheckpoint::NotLooked,
        }
    }

    /// What was lost at a destination and below it is covered now.
    fn cover(&mut self, destination: &[u8]) {
        if self.lost.is_empty() {
            return;
        }
        let below = if destination.is_empty() {
            self.lost.split_off(destination)
        } else {
            let first = [destination, b"/"].concat();
            // The byte after the slash: where all that lies below is over.
            let end = [destination, b"0"].concat();
            self.lost.remove(destination);
            let mut below = self.lost.split_off(&first);
            self.lost.append(&mut below.split_off(&end));
            below
        };
        drop(below);
    }

    /// Follows a mount to its mountpoint. What lies in a mount that is lost is lost too: without that
    /// mount the way would lead elsewhere, and something would be made where nobody needs it.
    fn walk(&mut self, mount: &Mount, follow: bool) -> Result<Found, Stopped> {
        let path = mount.destination.relative();
        let in_lost = |end| self.lost.contains(path.get(..end).unwrap_or_default());
        if !self.lost.is_empty() && component_ends(path).any(in_lost) {
            let place = Place {
                mount: MountId::ROOT,
                path: path.to_owned(),
            };
            return Err(Stopped {
                place,
                cause: Cause::Below,
            });
        }
        self.tree.walk(&mount.destination, follow)
    }

    /// What lies behind a mount, and so what its mountpoint has to be.
    fn open(&mut self, content: &Content) -> (Backing, Result<MountpointKind, Errno>) {
        match content {
            Content::Bind {
                source,
                recursive,
                link,
            } => {
                let follow = *link != LinkSource::Bound;
                match self.tree.hosts.add(source.clone(), *recursive, follow) {
                    Ok((id, kind)) => (Backing::Host(id, kind), Ok(kind)),
                    Err(Errno::ENOENT) => match self.source_to_come(source) {
                        Some((id, kind)) => (Backing::Host(id, kind), Ok(kind)),
                        None => (Backing::Broken, Err(Errno::ENOENT)),
                    },
                    Err(errno) => (Backing::Broken, Err(errno)),
                }
            }
            Content::Tmpfs { copy_up } => (
                Backing::Tmpfs { copy_up: *copy_up },
                Ok(MountpointKind::Directory),
            ),
            Content::Kernel | Content::Other => (Backing::Opaque, Ok(MountpointKind::Directory)),
        }
    }

    /// A source that comes to be as the mountpoint of an earlier mount: for the runtime it is there when
    /// its turn comes.
    fn source_to_come(&mut self, source: &Path) -> Option<(HostId, MountpointKind)> {
        if self.tree.planned.is_empty() {
            return None;
        }
        for at in source.ancestors().take(MOST_TO_COME) {
            let Ok(directory) = sys::inode_of_root(at) else {
                continue;
            };
            let below = source.strip_prefix(at).ok()?;
            let plain = |step: Component| matches!(step, Component::Normal(_));
            if !below.components().all(plain) {
                return None;
            }
            let below: PathBuf = below.components().collect();
            let below = below.into_os_string().into_vec();
            let kind = self.tree.planned.get(&directory.identity)?.get(&below)?;
            let (source, at) = (source.to_owned(), (at.to_owned(), directory));
            let id = self.tree.hosts.add_to_come(source, at, below, kind);
            return Some((id, kind));
        }
        None
    }

    fn judge(
        &mut self,
        mount: &Mount,
        found: &Found,
        kind: MountpointKind,
    ) -> Result<Status, (Option<PathBuf>, Cause)> {
        let host = match self.tree.backing(found.place.mount) {
            Backing::Host(id, _) => *id,
            Backing::Tmpfs { .. } => return Ok(Status::Restored),
            Backing::Broken => return Err((None, Cause::Below)),
            Backing::Opaque => return Ok(self.unjudged(mount, found.place.mount)),
        };
        let here = || self.tree.host_path(&found.place);
        match found.there {
            There::Existing(there) if there == kind => Ok(Status::Present),
            There::Existing(_) => Err((here(), Cause::WrongKind { needed: kind })),
            There::Unknown => Ok(self.unjudged(mount, found.place.mount)),
            // crun takes no link's place by a file of another kind: it wants it to be there.
            There::Missing { .. } if !mount.follow => Ok(Status::Undecided),
            There::Missing { existing } => {
                let path = found.place.path.clone();
                self.missing(host, path, existing, kind)
                    .map_err(|(end, cause)| {
                        let path = found.place.path.get(..end).unwrap_or_default();
                        (Some(self.tree.hosts.path(host, path)), cause)
                    })
            }
        }
    }

    fn unjudged(&self, mount: &Mount, parent: MountId) -> Status {
        let parent = self
            .indexes
            .get(&parent)
            .and_then(|&index| self.mounts.get(index));
        match parent.map(|parent| &parent.mount) {
            Some(parent)
                if parent.content == Content::Kernel && mount.content == Content::Kernel =>
            {
                Status::Kernel
            }
            Some(parent) => Status::Unjudged(parent.file_system.clone()),
            None => Status::Unjudged(String::new()),
        }
    }

    /// What the directory is that something is missing in; often that of the mount before.
    fn judge_directory(&mut self, host: HostId, path: &[u8]) -> Result<Judged, Cause> {
        if let Some(judged) = &self.judged {
            if judged.host == host && judged.path == path {
                return Ok(judged.clone());
            }
        }
        let known = self.tree.hosts.identity(host).filter(|_| path.is_empty());
        let directory = self.tree.hosts.parent(host, path)?;
        let identity = if let Some(identity) = known {
            identity
        } else {
            let inode = sys::inode(directory).map_err(Cause::system("fstat"))?;
            inode.identity
        };
        let file_system = sys::file_system(directory).map_err(Cause::system("fstatfs"))?;
        let judged = Judged {
            host,
            path: path.to_owned(),
            identity,
            file_system,
        };
        Ok(self.judged.insert(judged).clone())
    }

    /// Judges a mountpoint that is not there. The error has the end of the path that it is about.
    fn missing(
        &mut self,
        host: HostId,
        path: Vec<u8>,
        existing: usize,
        kind: MountpointKind,
    ) -> Result<Status, (usize, Cause)> {
        if !self.tree.hosts.is_to_come(host) {
            return self.missing_below(host, path, existing, kind);
        }
        let (host, whole) = self.tree.hosts.real(host, &path);
        let before = whole.len() - path.len();
        self.missing_below(host, whole, 0, kind)
            .map_err(|(end, cause)| (end.saturating_sub(before), cause))
    }

    fn missing_below(
        &mut self,
        host: HostId,
        path: Vec<u8>,
        existing: usize,
        kind: MountpointKind,
    ) -> Result<Status, (usize, Cause)> {
        let base = path.get(..existing).unwrap_or_default();
        let Judged {
            identity,
            file_system,
            ..
        } = self
            .judge_directory(host, base)
            .map_err(|cause| (existing, cause))?;
        if let Some(name) = file_system.kernel {
            return Ok(Status::Unjudged(name.to_owned()));
        }
        if file_system.read_only {
            return Err((
                path.len(),
                Cause::System {
                    operation: "mkdirat",
                    errno: Errno::EROFS,
                },
            ));
        }
        let from = self.reserve(identity, &path, existing, kind)?;
        Ok(Status::Missing(Missing {
            host,
            path,
            existing,
            identity,
            from,
        }))
    }

    /// Plans all that is missing of a path behind its first `existing` bytes, which lead to the directory
    /// `identity`. Says from which byte on it is this mount's to make. The error has the end of the path
    /// that it is about.
    fn reserve(
        &mut self,
        identity: (u64, u64),
        path: &[u8],
        existing: usize,
        kind: MountpointKind,
    ) -> Result<usize, (usize, Cause)> {
        let names = self.tree.planned.entry(identity).or_default();
        let mut at = NameId::TOP;
        let (mut start, mut from) = (existing, existing);
        for end in component_ends(path).filter(|&end| end > existing) {
            let name = path.get(start..end).unwrap_or_default();
            let name = name.strip_prefix(b"/").unwrap_or(name);
            let needed = if end == path.len() {
                kind
            } else {
                MountpointKind::Directory
            };
            let there = names.child(at, name);
            match there.and_then(|there| names.kind(there)) {
                None => {
                    self.inodes = self.inodes.checked_sub(1).ok_or((end, Cause::TooMany))?;
                    at = names.add(at, name);
                    names.set(at, needed);
                }
                Some(planned) if planned == needed => {
                    at = there.unwrap_or(at);
                    from = end;
                }
                Some(_) if end == path.len() => return Err((end, Cause::WrongKind { needed })),
                Some(_) => return Err((end, Cause::NotADirectory)),
            }
            start = end;
        }
        Ok(from)
    }
}

/// The text of the link that crun makes in the place of a mount.
fn copied_link(content: &Content) -> Option<Vec<u8>> {
    match content {
        Content::Bind {
            source,
            link: LinkSource::Copied,
            ..
        } => sys::text_of_link(source).ok(),
        _ => None,
    }
}

fn failed(mount: &Mount, host_path: Option<PathBuf>, cause: Cause) -> Status {
    let mount = mount.written.clone().into_bytes();
    Status::Failed(Failure {
        mount,
        host_path,
        cause,
    })
}
