// SPDX-License-Identifier: Apache-2.0
//! Builds the [`Plan`]: resolves every mount of the configuration to its mountpoint, then those that only the
//! checkpoint has. Changes nothing.

mod build_id;
mod compare;
mod files;
mod maker;
mod missing;
mod required;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};

use super::failure::{Cause, Failure};
use super::mount_tree::{Backing, Found, MountId, MountTree, Place, There};
use super::pending::{Maker, MakerId, Need};
use super::plan::{
    InnerSource, Origin, Plan, PlanOptions, PlannedFile, PlannedMount, Reason, Status,
};
use super::required::InCheckpoint;
use super::resolve::Stopped;
use super::sources::Sources;
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::oci::config::Config;
use crate::oci::mount::{Content, Mount};
use crate::oci::owner::Owner;
use crate::oci::process::User;
use crate::path::{NotAPath, RelPath, RelRef};
use crate::sys::MountpointKind;
use missing::Needed;
use source::{copied_link, open_rootfs};

impl Plan {
    /// Follows every mount of the configuration to its mountpoint, and finds what the checkpoint needs beyond that.
    ///
    /// # Errors
    ///
    /// The rootfs can't be opened, or is not a directory.
    pub fn new(
        config: Config,
        checkpoint: &Checkpoint,
        options: PlanOptions,
    ) -> Result<Self, Error> {
        let budget = options.budget;
        let mut sources = Sources::default();
        let root = config.rootfs.as_deref();
        let root = root
            .map(|path| open_rootfs(&mut sources, path))
            .transpose()?;
        let mut planner = Planner {
            tree: MountTree::new(sources, root),
            unreachable: BTreeSet::new(),
            indexes: BTreeMap::new(),
            ids: BTreeMap::new(),
            mounts: Vec::with_capacity(config.mounts.len()),
            missing_inner: Vec::new(),
            files: Vec::new(),
            makers: vec![Maker::Runtime],
            inodes: budget.inodes,
            owner: config.owner,
            user: config.process.user,
            is_rootfs_read_only: config.is_rootfs_read_only,
            options,
        };
        for mount in config.mounts {
            planner.add(mount);
        }
        planner.inodes = budget.beyond;
        let cwd = config.process.cwd.as_ref();
        let mut over = Over::default();
        if checkpoint.namespaces.is_empty() {
            planner.add_working_directory(cwd);
        } else {
            let masked = &config.externals.masked;
            over = planner.add_checkpoint(checkpoint, masked, cwd, root, budget.beyond);
        }
        let main = checkpoint.namespaces.first().zip(root);
        let has_no_tmp = options.comparison.of_rootfs
            && main.is_some_and(|(namespace, root)| planner.has_no_tmp(namespace, root));
        let limit = |is_over: bool| is_over.then_some(budget.beyond);
        Ok(Self {
            rootfs: config.rootfs,
            over_limit: limit(over.mounts),
            files_over_limit: limit(over.files),
            has_no_tmp,
            mounts: planner.mounts,
            missing_inner: planner.missing_inner,
            files: planner.files,
            makers: planner.makers,
            may_override: config.process.may_override,
            sources: planner.tree.sources,
            pending: planner.tree.pending,
        })
    }
}

/// What exceeds the limit.
#[derive(Default)]
struct Over {
    mounts: bool,
    files: bool,
}

struct Planner {
    tree: MountTree,
    /// Destinations of mounts that could not be placed in the tree.
    unreachable: BTreeSet<RelPath>,
    /// The index in `mounts` of a mount in the tree.
    indexes: BTreeMap<MountId, usize>,
    /// The reverse, for mounts that have a place in the tree.
    ids: BTreeMap<usize, MountId>,
    mounts: Vec<PlannedMount>,
    /// What mounts of the workload's show, and isn't there.
    missing_inner: Vec<InnerSource>,
    /// What CRIU opens by path.
    files: Vec<PlannedFile>,
    /// Who creates.
    makers: Vec<Maker>,
    /// How many more inodes may be planned.
    inodes: usize,
    owner: Owner,
    /// The container's user.
    user: User,
    is_rootfs_read_only: bool,
    options: PlanOptions,
}

impl Planner {
    fn add(&mut self, mount: Mount) {
        let planned = self.plan(mount);
        self.mounts.push(planned);
    }

    fn plan(&mut self, mount: Mount) -> PlannedMount {
        let destination = match &mount.destination {
            Ok(destination) => destination.clone(),
            Err(reason) => {
                let cause = match reason {
                    NotAPath::TooLong => Cause::TooLong,
                    NotAPath::Nul => Cause::Nul,
                };
                return self.unplaced(mount, None, None, cause);
            }
        };
        let destination = destination.view();
        if let Some(text) = copied_link(&mount.content) {
            return self.plan_link(mount, destination, text);
        }
        let (backing, kind) = self.open(&mount.content);
        let found = match self.resolve(destination, mount.follow) {
            Ok(found) => found,
            Err(stopped) => {
                self.unreachable.insert(destination.to_owned());
                return self.unplaced(mount, Some(&stopped.place), kind.ok(), stopped.cause);
            }
        };
        // Of a source that nobody has named, what is there tells.
        let kind = match (&mount.content, found.there) {
            (Content::Awaited { kind: None, .. }, There::Existing(there)) => Ok(there),
            _ => kind,
        };
        let status = match kind {
            Ok(kind) => self.judge(&mount, &found, kind),
            Err(errno) => Err(Failure {
                at: None,
                cause: Cause::Source(errno),
            }),
        };
        let status = self.settled(status);
        self.cover(destination);
        let id = self
            .tree
            .attach(&found, backing, kind.unwrap_or(MountpointKind::Directory));
        self.indexes.insert(id, self.mounts.len());
        self.ids.insert(self.mounts.len(), id);
        self.placed(mount, &found.place, kind.ok(), status)
    }

    /// A mount that crun turns into a link: nothing is mounted, and later mounts go through the link.
    fn plan_link(&mut self, mount: Mount, destination: RelRef, text: Vec<u8>) -> PlannedMount {
        let found = match self.resolve(destination, false) {
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
            resolved: Some(self.tree.resolved(place)),
            at: self.tree.host_place(place),
            kind,
            status,
            mount,
            origin: Origin::Configuration,
            in_checkpoint: InCheckpoint::NotLooked,
        }
    }

    /// A mount whose destination cannot be resolved.
    fn unplaced(
        &self,
        mount: Mount,
        at: Option<&Place>,
        kind: Option<MountpointKind>,
        cause: Cause,
    ) -> PlannedMount {
        let failed_at = at.and_then(|place| self.tree.host_place(place));
        PlannedMount {
            parent: at.and_then(|place| self.indexes.get(&place.mount).copied()),
            resolved: mount.destination.as_ref().ok().cloned(),
            at: None,
            kind,
            status: Status::Failed(Failure {
                at: failed_at,
                cause,
            }),
            mount,
            origin: Origin::Configuration,
            in_checkpoint: InCheckpoint::NotLooked,
        }
    }

    /// A new mount covers whatever was unreachable at or below its destination.
    fn cover(&mut self, destination: RelRef) {
        if destination.is_root() {
            self.unreachable.clear();
        }
        if self.unreachable.is_empty() {
            return;
        }
        let destination = destination.as_bytes();
        self.unreachable.remove(destination);
        // '0' follows '/' in ASCII: the range covers everything below the destination.
        let (first, end) = ([destination, b"/"].concat(), [destination, b"0"].concat());
        let below = self
            .unreachable
            .range::<[u8], _>((Included(&*first), Excluded(&*end)));
        let covered: Vec<RelPath> = below.cloned().collect();
        for path in covered {
            self.unreachable.remove(&path);
        }
    }

    /// Resolves a destination. Anything inside an unreachable mount is unreachable too: without that mount the
    /// path would lead somewhere else, and something would be created where nobody needs it.
    fn resolve(&mut self, destination: RelRef, follow: bool) -> Result<Found, Stopped> {
        let is_unreachable = |prefix: RelRef| self.unreachable.contains(prefix.as_bytes());
        if !self.unreachable.is_empty() && destination.prefixes().any(is_unreachable) {
            let place = Place {
                mount: MountId::ROOT,
                path: destination.to_owned(),
            };
            return Err(Stopped {
                place,
                cause: Cause::Below,
            });
        }
        self.tree.resolve(destination, follow)
    }

    fn judge(
        &mut self,
        mount: &Mount,
        found: &Found,
        kind: MountpointKind,
    ) -> Result<Status, Failure> {
        let source = match self.tree.backing(found.place.mount) {
            Backing::Source(id, _) => *id,
            Backing::Tmpfs { .. } => return Ok(Status::Restored),
            Backing::Broken => {
                return Err(Failure {
                    at: None,
                    cause: Cause::Below,
                });
            }
            Backing::Opaque => return Ok(self.not_inspected(mount, found.place.mount)),
        };
        let path = found.place.view();
        match found.there {
            There::Existing(there) if there == kind => Ok(Status::Present),
            There::Existing(_) => Err(Failure {
                at: Some(source.at(path)),
                cause: Cause::WrongKind { needed: kind },
            }),
            There::Unknown => Ok(self.not_inspected(mount, found.place.mount)),
            // With dest-nofollow crun doesn't create the mountpoint: it has to exist.
            There::Missing { .. } if !mount.follow => Ok(Status::KindUnknown),
            There::Missing { existing } => {
                let needed = self.mountpoint(kind, MakerId::RUNTIME);
                self.missing(source, path, existing, needed)
            }
        }
    }

    /// The mountpoint of the next mount of the plan.
    fn mountpoint(&self, kind: MountpointKind, maker: MakerId) -> Needed {
        Needed {
            kind: kind.into(),
            mode: None,
            maker,
            by: Need::Mount(self.mounts.len()),
        }
    }

    fn not_inspected(&self, mount: &Mount, parent: MountId) -> Status {
        let parent = self
            .indexes
            .get(&parent)
            .and_then(|&index| self.mounts.get(index));
        let file_system = match parent.map(|parent| &parent.mount) {
            Some(parent)
                if parent.content == Content::Kernel && mount.content == Content::Kernel =>
            {
                return Status::Kernel;
            }
            Some(parent) => parent.file_system.clone(),
            None => String::new(),
        };
        Status::NotInspected(Reason::FileSystem(file_system))
    }
}
