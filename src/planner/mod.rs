// SPDX-License-Identifier: Apache-2.0
//! Makes the [`Plan`]: follows every mount of the configuration to its mountpoint, and then those that
//! only the checkpoint knows of. Looks only.

mod missing;
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
use crate::path::{NoPath, component_ends};
use crate::plan::{Origin, Plan, PlannedMount, Status};
use crate::sys;
use crate::tree::{Backing, Found, MountId, MountTree, Place, There};
use crate::walk::Stopped;
use missing::Judged;

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
        if destination.is_empty() {
            self.lost.clear();
        }
        if self.lost.is_empty() {
            return;
        }
        self.lost.remove(destination);
        // Up to the byte after the slash, where all that lies below is over.
        let below = [destination, b"/"].concat()..[destination, b"0"].concat();
        let covered: Vec<Vec<u8>> = self.lost.range(below).cloned().collect();
        for lost in covered {
            self.lost.remove(&lost);
        }
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
