// SPDX-License-Identifier: Apache-2.0
//! Adds the mountpoints that only the checkpoint needs to the plan.

use nix::errno::Errno;

use super::{Over, Planner};
use crate::checkpoint::{Checkpoint, MountImage, Namespace};
use crate::mountpoints::failure::{Cause, Failure};
use crate::mountpoints::host_place::SourceId;
use crate::mountpoints::mount_tree::{Backing, Found, MountId, MountTree, Place, There};
use crate::mountpoints::pending::{MakerId, Need};
use crate::mountpoints::plan::{InnerSource, Origin, PlannedMount, Reason, Status};
use crate::mountpoints::required::{
    self, ConfigMount, InCheckpoint, Inside, KindBy, Parent, RequiredMountpoint,
};
use crate::mountpoints::sources::Seen;
use crate::oci::mount::{Content, Mount};
use crate::path::{PATH_MAX, RelPath, RelRef};
use crate::sys::MountpointKind;

/// Length in bytes of the prefix that CRIU puts before a path: `/tmp/.criu.mntns.XXXXXX/mnt-0000000001/`.
const CRIU_ROOT: usize = 40;

impl Planner {
    /// Plans what a checkpoint requires. Returns what of it exceeds the limit, of which nothing is planned.
    pub(super) fn add_checkpoint(
        &mut self,
        checkpoint: &Checkpoint,
        masked: &[String],
        cwd: Option<&RelPath>,
        root: Option<SourceId>,
        most: usize,
    ) -> Over {
        let files = self.open_files(checkpoint);
        let cwd = self.working_directory(cwd);
        let configured = self.mounts.len();
        let mut known = Vec::with_capacity(self.mounts.len());
        for (index, planned) in self.mounts.iter().enumerate() {
            let is_broken = |failure: &Failure| matches!(failure.cause, Cause::Source(_));
            let destination = planned.mount.destination.as_ref().ok();
            let name = planned.mount.key.as_ref().or(destination);
            known.push(ConfigMount {
                resolved: planned.resolved.as_ref().map(RelPath::view),
                destination: name.map(RelPath::view),
                is_bind: planned.mount.is_bind(),
                parent: if planned.status.failure().is_some_and(is_broken) {
                    Parent::Broken
                } else if self.ids.contains_key(&index) {
                    planned.parent.map_or(Parent::Rootfs, Parent::Mount)
                } else {
                    Parent::Unplaced
                },
            });
        }
        let namespaces = &checkpoint.namespaces;
        let open = files.as_deref().unwrap_or_default();
        let compared = required::compare(namespaces, open, cwd.as_ref(), &known, masked, most);
        for (planned, has) in self.mounts.iter_mut().zip(compared.has) {
            planned.in_checkpoint = has;
        }
        let required = compared.required;
        let is_over = required.is_none_or(|required| self.add_required(required, root));
        if is_over {
            // All or nothing: half of it is of no use.
            self.mounts.truncate(configured);
            let is_configured = |need| matches!(need, Need::Mount(mount) if mount < configured);
            self.tree.pending.keep(is_configured);
            self.inodes = most;
        }
        let cwd = cwd.zip(compared.cwd);
        let files = files.zip(compared.files);
        let over = Over {
            mounts: is_over,
            files: self.add_open_files(&checkpoint.tasks, cwd, files, root, most),
        };
        // Last: what is planned will be there.
        self.add_inner(compared.inner, root);
        over
    }

    /// Looks for what mounts of the workload's show.
    fn add_inner(&mut self, inner: Vec<(RelPath, Inside)>, root: Option<SourceId>) {
        for (mountpoint, inside) in inner {
            let Some(source) = self.source_of(&inside, root) else {
                continue;
            };
            let seen = self.tree.sources.look(source, inside.path.view(), false);
            let mount = inside.mount.and_then(|index| self.ids.get(&index));
            let place = Place {
                mount: mount.copied().unwrap_or(MountId::ROOT),
                path: inside.path.clone(),
            };
            let is_planned = |tree: &mut MountTree| matches!(tree.pending_at(&place), Ok(Some(_)));
            if matches!(seen, Ok(Seen::Missing | Seen::Blocked)) && !is_planned(&mut self.tree) {
                self.missing_inner.push(InnerSource {
                    mountpoint,
                    parent: inside.mount,
                    at: source.at(inside.path.view()),
                });
            }
        }
    }

    /// Whether the rootfs is read-only and has no directory /tmp, in which CRIU would put the old root while it
    /// changes it. A directory of the mounts will do.
    pub(super) fn has_no_tmp(&mut self, namespace: &Namespace, root: SourceId) -> bool {
        let Some(tmp) = RelRef::new(b"tmp") else {
            return false;
        };
        let is_tmp = |mount: &MountImage| mount.mountpoint.view() == tmp;
        let is_directory = |found: Found| found.there == There::Existing(MountpointKind::Directory);
        if namespace.mounts.iter().any(is_tmp)
            || self.tree.resolve(tmp, true).is_ok_and(is_directory)
        {
            return false;
        }
        let judged = self.tree.sources.judge(root, RelRef::ROOT);
        let recorded = required::root_of(namespace).is_some_and(|root| root.read_only);
        recorded || judged.is_ok_and(|judged| judged.file_system.read_only)
    }

    /// Returns whether that exceeds the limit.
    fn add_required(&mut self, required: Vec<RequiredMountpoint>, root: Option<SourceId>) -> bool {
        for required in required {
            let Some(planned) = self.plan_required(required, root) else {
                continue;
            };
            let is_over = |failure: &Failure| failure.cause == Cause::TooMany;
            if planned.status.failure().is_some_and(is_over) {
                return true;
            }
            self.mounts.push(planned);
        }
        false
    }

    fn plan_required(
        &mut self,
        required: RequiredMountpoint,
        root: Option<SourceId>,
    ) -> Option<PlannedMount> {
        // If the source is unusable, the configuration's own mount has already failed.
        let source = self.source_of(&required.at, root)?;
        let mount = Mount::of_checkpoint(
            &required.mountpoint,
            required.file_system,
            Content::Other,
            false,
        );
        let kind = match required.kind {
            KindBy::Checkpoint(kind) => Some(kind),
            KindBy::Source(source) => self.kind_of(&source, root),
            KindBy::Configuration(index) => self.mounts.get(index).and_then(|known| known.kind),
            KindBy::Nothing => None,
        };
        let path = required.at.path.view();
        let maker = if required.is_of_runtime {
            Some(MakerId::RUNTIME)
        } else if required.read_only || self.is_read_only(required.at.mount) {
            None
        } else {
            self.maker(None)
        };
        let status = self.judge_required(source, path, kind, maker);
        Some(PlannedMount {
            parent: required.at.mount,
            resolved: Some(required.mountpoint),
            at: Some(source.at(path)),
            kind,
            status: self.settled(status),
            mount,
            origin: Origin::Checkpoint,
            in_checkpoint: InCheckpoint::Own,
        })
    }

    pub(super) fn source_of(&self, inside: &Inside, root: Option<SourceId>) -> Option<SourceId> {
        let Some(index) = inside.mount else {
            return root;
        };
        match self.tree.backing(*self.ids.get(&index)?) {
            Backing::Source(id, MountpointKind::Directory) => Some(*id),
            _ => None,
        }
    }

    /// The kind of what a mount of the workload shows, if it exists.
    fn kind_of(&mut self, shown: &Inside, root: Option<SourceId>) -> Option<MountpointKind> {
        let source = self.source_of(shown, root)?;
        match self
            .tree
            .sources
            .look(source, shown.path.view(), false)
            .ok()?
        {
            Seen::Directory => Some(MountpointKind::Directory),
            Seen::File => Some(MountpointKind::File),
            Seen::Link(_) | Seen::Missing | Seen::Blocked => None,
        }
    }

    /// Plans a mountpoint that the checkpoint requires; its path is free of symlinks. `maker`: who can create it.
    fn judge_required(
        &mut self,
        source: SourceId,
        path: RelRef,
        kind: Option<MountpointKind>,
        maker: Option<MakerId>,
    ) -> Result<Status, Failure> {
        let failed = |path, cause| Failure {
            at: Some(source.at(path)),
            cause,
        };
        if path.size() >= PATH_MAX - CRIU_ROOT {
            return Err(failed(RelRef::ROOT, Cause::TooLong));
        }
        for prefix in path.ancestors() {
            let seen = self
                .tree
                .sources
                .look(source, prefix, prefix != path)
                .map_err(|cause| failed(prefix, cause))?;
            let there = match seen {
                Seen::Missing | Seen::Blocked => continue,
                // CRIU would follow it, on the host or wherever else it leads.
                Seen::Link(_) => return Ok(Status::NotInspected(Reason::Link)),
                Seen::Directory => MountpointKind::Directory,
                Seen::File => MountpointKind::File,
            };
            return match (prefix == path, kind) {
                (true, Some(needed)) if there != needed => {
                    Err(failed(prefix, Cause::WrongKind { needed }))
                }
                (true, _) => Ok(Status::Present),
                (false, _) if there == MountpointKind::File => {
                    Err(failed(prefix, Cause::NotADirectory))
                }
                (false, None) => Ok(Status::KindUnknown),
                (false, Some(kind)) => {
                    let read_only = Cause::system("mkdirat")(Errno::EROFS);
                    let maker = maker.ok_or_else(|| failed(path, read_only))?;
                    let needed = self.mountpoint(kind, maker);
                    self.missing(source, path, prefix.depth(), needed)
                }
            };
        }
        Err(failed(RelRef::ROOT, Cause::Changed))
    }
}
