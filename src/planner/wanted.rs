// SPDX-License-Identifier: Apache-2.0
//! What the checkpoint needs beyond the configuration, as mounts of the plan.

use super::{Planner, failed};
use crate::checkpoint::{self, Compared, InCheckpoint, Inside, KindBy, Known, Parent, Wanted};
use crate::error::{Cause, Failure};
use crate::hosts::{HostId, Seen};
use crate::images::Namespace;
use crate::mount::{Content, Mount, MountpointKind};
use crate::path::{ContainerPath, PATH_MAX, component_ends};
use crate::plan::{Origin, PlannedMount, Status};
use crate::tree::Backing;

/// How many bytes come before a path below a mount where CRIU asks for it:
/// `/tmp/.criu.mntns.XXXXXX/mnt-0000000001/`.
const CRIU_ROOT: usize = 40;

impl Planner {
    /// Plans what a checkpoint wants, but for one that wants too much: says whether it does.
    pub(super) fn add_checkpoint(
        &mut self,
        namespaces: &[Namespace],
        masked: &[String],
        root: HostId,
        most: usize,
    ) -> bool {
        if namespaces.is_empty() {
            return false;
        }
        let configured = self.mounts.len();
        let mut known = Vec::with_capacity(self.mounts.len());
        for (index, planned) in self.mounts.iter().enumerate() {
            let is_broken = |failure: &Failure| matches!(failure.cause, Cause::Source(_));
            known.push(Known {
                resolved: &planned.resolved,
                destination: planned.mount.destination.relative(),
                is_bind: matches!(planned.mount.content, Content::Bind { .. }),
                parent: if planned.status.failure().is_some_and(is_broken) {
                    Parent::Broken
                } else if self.ids.contains_key(&index) {
                    planned.parent.map_or(Parent::Rootfs, Parent::Mount)
                } else {
                    Parent::Unplaced
                },
            });
        }
        let Compared { wanted, has } = checkpoint::compare(namespaces, &known, masked, most);
        for (planned, has) in self.mounts.iter_mut().zip(has) {
            planned.in_checkpoint = has;
        }
        let Some(wanted) = wanted else {
            return true;
        };
        for wanted in wanted {
            let Some(planned) = self.plan_wanted(wanted, root) else {
                continue;
            };
            let is_over = |failure: &Failure| failure.cause == Cause::TooMany;
            if planned.status.failure().is_some_and(is_over) {
                // All or nothing: half of it would help nobody.
                self.mounts.truncate(configured);
                return true;
            }
            self.mounts.push(planned);
        }
        false
    }

    fn plan_wanted(&mut self, wanted: Wanted, root: HostId) -> Option<PlannedMount> {
        // Without a usable source the mount of the configuration has failed already.
        let host = self.host_of(&wanted.at, root)?;
        let written = format!("/{}", String::from_utf8_lossy(&wanted.mountpoint));
        let mount = Mount {
            destination: ContainerPath::from_plain(wanted.mountpoint.clone()),
            file_system: wanted.file_system,
            content: Content::Other,
            no_path: None,
            follow: false,
            written,
        };
        let kind = match wanted.kind {
            KindBy::Checkpoint(kind) => Some(kind),
            KindBy::Source(source) => self.kind_of(&source, root),
            KindBy::Configuration(index) => self.mounts.get(index).and_then(|known| known.kind),
            KindBy::Nothing => None,
        };
        let path = wanted.at.path;
        let status = self
            .judge_wanted(host, &path, kind)
            .unwrap_or_else(|(end, cause)| {
                let host_path = self
                    .tree
                    .hosts
                    .path(host, path.get(..end).unwrap_or_default());
                failed(&mount, Some(host_path), cause)
            });
        Some(PlannedMount {
            parent: wanted.at.mount,
            resolved: wanted.mountpoint,
            host_path: Some(self.tree.hosts.path(host, &path)),
            kind,
            status,
            mount,
            origin: Origin::Checkpoint,
            in_checkpoint: InCheckpoint::Own,
        })
    }

    fn host_of(&self, inside: &Inside, root: HostId) -> Option<HostId> {
        let Some(index) = inside.mount else {
            return Some(root);
        };
        match self.tree.backing(*self.ids.get(&index)?) {
            Backing::Host(id, MountpointKind::Directory) => Some(*id),
            _ => None,
        }
    }

    /// What a mount of the workload's own shows, if that is there.
    fn kind_of(&mut self, source: &Inside, root: HostId) -> Option<MountpointKind> {
        let host = self.host_of(source, root)?;
        match self.tree.hosts.look(host, &source.path).ok()? {
            Seen::Directory => Some(MountpointKind::Directory),
            Seen::File => Some(MountpointKind::File),
            Seen::Link(_) | Seen::Missing | Seen::Blocked => None,
        }
    }

    /// Judges a mountpoint whose path has no links, by the checkpoint's word. The error has the end of
    /// the path that it is about.
    fn judge_wanted(
        &mut self,
        host: HostId,
        path: &[u8],
        kind: Option<MountpointKind>,
    ) -> Result<Status, (usize, Cause)> {
        if path.len() >= PATH_MAX - CRIU_ROOT {
            return Err((0, Cause::TooLong));
        }
        let ends: Vec<usize> = component_ends(path).collect();
        for end in ends.into_iter().rev().chain([0]) {
            let prefix = path.get(..end).unwrap_or_default();
            let seen = self
                .tree
                .hosts
                .look(host, prefix)
                .map_err(|cause| (end, cause))?;
            let there = match seen {
                Seen::Missing | Seen::Blocked => continue,
                // CRIU would follow it, on the host or wherever else it leads.
                Seen::Link(_) => return Ok(Status::Unjudged("a link".to_owned())),
                Seen::Directory => MountpointKind::Directory,
                Seen::File => MountpointKind::File,
            };
            return match (end == path.len(), kind) {
                (true, Some(needed)) if there != needed => Err((end, Cause::WrongKind { needed })),
                (true, _) => Ok(Status::Present),
                (false, _) if there == MountpointKind::File => Err((end, Cause::NotADirectory)),
                (false, None) => Ok(Status::Undecided),
                (false, Some(kind)) => self.missing(host, path.to_owned(), end, kind),
            };
        }
        Err((0, Cause::Changed))
    }
}
