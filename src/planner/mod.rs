// SPDX-License-Identifier: Apache-2.0
//! Makes the [`Plan`]: follows every mount of the configuration to its mountpoint, and then those that
//! only the checkpoint knows of. Looks only.

mod wanted;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nix::errno::Errno;

use crate::config::Config;
use crate::error::{Cause, Error, Failure};
use crate::hosts::{HostId, Hosts};
use crate::images::Namespace;
use crate::mount::{Content, Mount, MountpointKind};
use crate::path::{component_ends, is_below};
use crate::plan::{Missing, Origin, Plan, PlannedMount, Status};
use crate::sys::{self, FileSystem};
use crate::tree::{Backing, Below, Found, MountId, MountTree, Place, There};
use crate::walk::Stopped;

impl Plan {
    /// Follows every mount of the configuration to its mountpoint, and finds what the checkpoint's mount
    /// namespaces need beyond that.
    pub fn new(config: Config, namespaces: &[Namespace]) -> Result<Self, Error> {
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
        };
        for mount in config.mounts {
            planner.add(mount);
        }
        planner.add_checkpoint(namespaces, &config.externals.masked, root);
        Ok(Self {
            rootfs: config.rootfs,
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
        let (backing, kind) = self.open(&mount.content);
        let found = match self.walk(&mount) {
            Ok(found) => found,
            Err(stopped) => {
                self.lost.insert(mount.destination.relative().to_owned());
                let host_path = self.tree.host_path(&stopped.place);
                let status = failed(&mount, host_path, stopped.cause);
                return PlannedMount {
                    parent: self.indexes.get(&stopped.place.mount).copied(),
                    resolved: mount.destination.relative().to_owned(),
                    host_path: None,
                    kind: kind.ok(),
                    status,
                    mount,
                    origin: Origin::Configuration,
                };
            }
        };
        let status = match kind {
            Ok(kind) => self.judge(&mount, &found, kind),
            Err(errno) => Err((mount.source(), Cause::Source(errno))),
        };
        let status = status.unwrap_or_else(|(host_path, cause)| failed(&mount, host_path, cause));
        // What was lost below it is covered now.
        self.lost
            .retain(|lost| !is_below(lost, mount.destination.relative()));
        let resolved = self.tree.resolved(&found.place);
        let id = self
            .tree
            .attach(&found, backing, kind.unwrap_or(MountpointKind::Directory));
        self.indexes.insert(id, self.mounts.len());
        self.ids.insert(self.mounts.len(), id);
        PlannedMount {
            parent: self.indexes.get(&found.place.mount).copied(),
            resolved,
            host_path: self.tree.host_path(&found.place),
            kind: kind.ok(),
            status,
            mount,
            origin: Origin::Configuration,
        }
    }

    /// Follows a mount to its mountpoint. What lies in a mount that is lost is lost too: without that
    /// mount the way would lead elsewhere, and something would be made where nobody needs it.
    fn walk(&mut self, mount: &Mount) -> Result<Found, Stopped> {
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
        self.tree.walk(&mount.destination)
    }

    /// What lies behind a mount, and so what its mountpoint has to be.
    fn open(&mut self, content: &Content) -> (Backing, Result<MountpointKind, Errno>) {
        match content {
            Content::Bind { source, recursive } => {
                match self.tree.hosts.add(source.clone(), *recursive) {
                    Ok((id, kind)) => (Backing::Host(id, kind), Ok(kind)),
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
        let mut from = existing;
        for end in component_ends(&path).filter(|&end| end > existing) {
            let below = Below::new(identity, &path, existing, end);
            let last = end == path.len();
            match self.tree.planned.entry(below) {
                Entry::Vacant(place) => {
                    place.insert(if last {
                        kind
                    } else {
                        MountpointKind::Directory
                    });
                }
                Entry::Occupied(planned) => match *planned.get() {
                    planned if last && planned != kind => {
                        return Err((end, Cause::WrongKind { needed: kind }));
                    }
                    MountpointKind::File if !last => return Err((end, Cause::NotADirectory)),
                    _ => from = end,
                },
            }
        }
        Ok(Status::Missing(Missing {
            host,
            path,
            existing,
            identity,
            from,
        }))
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
