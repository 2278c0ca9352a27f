// SPDX-License-Identifier: Apache-2.0
//! Adds what CRIU opens by path to the plan: the working directory of the configuration, and what the
//! checkpoint's tasks hold open.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;

use super::Planner;
use super::build_id::build_id;
use super::compare::{Wanted, compare};
use super::missing::Needed;
use crate::checkpoint::{Checkpoint, Holder, OpenFile, OpenFiles, OpenKind, Tasks};
use crate::mountpoints::budget::OPEN_FILE_PATHS;
use crate::mountpoints::failure::{Cause, Failure};
use crate::mountpoints::host_place::{HostPlace, SourceId};
use crate::mountpoints::mount_tree::{Backing, There};
use crate::mountpoints::pending::{MakerId, Need};
use crate::mountpoints::plan::{Difference, PlannedFile, PlannedMount, Reason, Status};
use crate::mountpoints::required::OpenFilePlace;
use crate::mountpoints::sources::Seen;
use crate::path::{PATH_MAX, RelPath, RelRef};
use crate::sys::{MountpointKind, NewKind};

/// A directory's permissions and its sticky bit; never set-user-ID or set-group-ID.
const DIRECTORY_MODE: u32 = 0o1777;
/// The permissions of a file or FIFO.
const FILE_MODE: u32 = 0o777;

/// How it stands with something that CRIU opens.
enum Found {
    /// As it will stay.
    Settled(Result<Status, Failure>),
    /// It is missing; this many components of its path exist.
    Missing(usize),
}

impl Planner {
    /// Where the working directory of the configuration is, as an open file: links are resolved as the runtime
    /// resolves them.
    pub(super) fn working_directory(&mut self, cwd: Option<&RelPath>) -> Option<OpenFile> {
        let found = self.tree.resolve(cwd?.view(), true).ok()?;
        let is_missing = matches!(found.there, There::Missing { .. });
        let is_directory = found.there == There::Existing(MountpointKind::Directory);
        let path = self.tree.resolved(&found.place);
        if path.view().is_root() || !(is_missing || is_directory) {
            return None;
        }
        Some(OpenFile {
            id: 0,
            mount: None,
            path,
            kind: OpenKind::Directory,
            mode: None,
            size: None,
            build_id: None,
        })
    }

    /// Plans the working directory of the configuration, without a checkpoint that says where it is.
    pub(super) fn add_working_directory(&mut self, cwd: Option<&RelPath>) {
        let Some(open) = self.working_directory(cwd) else {
            return;
        };
        let Ok(found) = self.tree.resolve(open.path.view(), false) else {
            return;
        };
        let Backing::Source(source, _) = *self.tree.backing(found.place.mount) else {
            return;
        };
        let parent = self.indexes.get(&found.place.mount).copied();
        self.add_wanted(
            vec![Wanted {
                source,
                at: found.place.path,
                parent,
                path: open.path,
                kind: open.kind,
                mode: None,
                size: None,
                build_id: None,
                id: None,
                is_of_runtime: true,
                read_only: false,
            }],
            &Tasks::default(),
        );
    }

    /// The mountpoints of the binds of the configuration, in the container's view.
    fn binds(&self) -> BTreeSet<&[u8]> {
        let of_bind = |planned: &&PlannedMount| planned.mount.is_bind();
        let binds = self.mounts.iter().filter(of_bind);
        let resolved = binds.filter_map(|planned| planned.resolved.as_ref());
        resolved.map(RelPath::as_bytes).collect()
    }

    /// What a checkpoint's tasks hold open; None if that exceeds the limit. The name of a socket is as it was bound;
    /// all others are free of links.
    pub(super) fn open_files(&mut self, checkpoint: &Checkpoint) -> Option<Vec<OpenFile>> {
        let OpenFiles::Known(files) = &checkpoint.files else {
            return Some(Vec::new());
        };
        let mut files: Vec<OpenFile> = if self.options.comparison.of_rootfs {
            files.clone()
        } else {
            // Most are the programs and libraries of the rootfs.
            let in_bind = self.binds();
            let is_wanted = |open: &&OpenFile| {
                let in_bind = |prefix: RelRef| in_bind.contains(prefix.as_bytes());
                open.kind.can_be_created() || open.path.view().prefixes().any(in_bind)
            };
            files.iter().filter(is_wanted).cloned().collect()
        };
        let mut bytes = OPEN_FILE_PATHS;
        // Sockets of one directory come one after the other.
        let mut last: Option<(RelPath, Option<RelPath>)> = None;
        for open in &mut files {
            let (directory, name) = match (open.kind, open.path.view().split_last()) {
                (OpenKind::SocketDirectory, _) => (open.path.view(), None),
                (OpenKind::Socket, Some((directory, name))) => (directory, Some(name)),
                _ => continue,
            };
            if last.as_ref().is_none_or(|(at, _)| at.view() != directory) {
                let found = self.tree.resolve(directory, true).ok();
                let resolved = found.map(|found| self.tree.resolved(&found.place));
                last = Some((directory.to_owned(), resolved));
            }
            if let Some((_, Some(resolved))) = &last {
                let mut resolved = resolved.clone();
                if let Some(name) = name {
                    resolved.push(name);
                }
                bytes = bytes.checked_sub(resolved.view().size())?;
                open.path = resolved;
            }
        }
        Some(files)
    }

    /// Plans the working directory of the configuration, and what a checkpoint's tasks hold open, at these places.
    /// Returns whether the latter exceeds the limit, as it does if there are no `files`: none of it is planned then.
    pub(super) fn add_open_files(
        &mut self,
        tasks: &Tasks,
        cwd: Option<(OpenFile, OpenFilePlace)>,
        files: Option<(Vec<OpenFile>, Vec<Option<OpenFilePlace>>)>,
        root: Option<SourceId>,
        most: usize,
    ) -> bool {
        let is_over = files.is_none();
        let mut wanted = Vec::new();
        if let Some((cwd, place)) = cwd {
            let found = self.wanted(&cwd, place, root);
            wanted.extend(found.map(|wanted| Wanted {
                id: None,
                is_of_runtime: true,
                ..wanted
            }));
        }
        let (files, places) = files.unwrap_or_default();
        for (open, place) in files.iter().zip(places) {
            wanted.extend(place.and_then(|place| self.wanted(open, place, root)));
        }
        // Directories before what is in them.
        wanted.sort_by(|a, b| {
            let key = |wanted: &Wanted| {
                let is_to_be = wanted.kind.is_to_be();
                let (of_runtime, has_mode) = (wanted.is_of_runtime, wanted.mode.is_some());
                (is_to_be, !of_runtime, !has_mode, wanted.kind)
            };
            (a.source, &a.at)
                .cmp(&(b.source, &b.at))
                .then_with(|| key(a).cmp(&key(b)))
        });
        // The runtime creates its working directory, with the mode that the checkpoint has.
        wanted.dedup_by(|later, first| {
            let is_same = (later.source, &later.at) == (first.source, &first.at)
                && (!(later.kind.is_to_be() || first.kind.is_to_be()) || later.kind == first.kind);
            if is_same && later.kind == first.kind {
                first.mode = first.mode.or(later.mode);
                first.id = first.id.or(later.id);
            }
            is_same
        });
        // The configuration's own doesn't depend on what the checkpoint asks for.
        if let Some(index) = wanted.iter().position(|wanted| wanted.is_of_runtime) {
            let of_runtime = wanted.remove(index);
            self.add_wanted(vec![of_runtime], tasks);
        }
        let can_be_created = |wanted: &&Wanted| wanted.kind.can_be_created();
        let is_over = is_over || wanted.iter().filter(can_be_created).count() > most;
        is_over || self.add_wanted(wanted, tasks)
    }

    fn wanted(
        &self,
        open: &OpenFile,
        place: OpenFilePlace,
        root: Option<SourceId>,
    ) -> Option<Wanted> {
        let source = self.source_of(&place.at, root);
        let source = source.or_else(|| self.file_bound(&place))?;
        let is_compared = place.at.mount.is_some() || self.options.comparison.of_rootfs;
        if !open.kind.can_be_created() && !is_compared {
            return None;
        }
        Some(Wanted {
            source,
            parent: place.at.mount,
            read_only: place.read_only || self.is_read_only(place.at.mount),
            at: place.at.path,
            path: open.path.clone(),
            kind: open.kind,
            mode: open.mode,
            size: open.size,
            build_id: open
                .build_id
                .clone()
                .filter(|_| self.options.comparison.of_build_ids),
            id: Some(open.id),
            is_of_runtime: false,
        })
    }

    /// The source of an open file that is bound itself.
    fn file_bound(&self, place: &OpenFilePlace) -> Option<SourceId> {
        let mount = place.at.mount.filter(|_| place.at.path.view().is_root())?;
        match self.tree.backing(*self.ids.get(&mount)?) {
            Backing::Source(id, MountpointKind::File) => Some(*id),
            _ => None,
        }
    }

    /// Whether a mount of the configuration, or the rootfs, is read-only.
    pub(super) fn is_read_only(&self, mount: Option<usize>) -> bool {
        let Some(mount) = mount else {
            return self.is_rootfs_read_only;
        };
        let planned = self.mounts.get(mount);
        planned.is_some_and(|planned| planned.mount.read_only)
    }

    fn add_wanted(&mut self, wanted: Vec<Wanted>, tasks: &Tasks) -> bool {
        let found: Vec<Found> = wanted.iter().map(|wanted| self.find(wanted)).collect();
        let is_missing = |found: &Found| matches!(found, Found::Missing(_));
        let missing = wanted.iter().zip(&found);
        let missing = missing.filter(|(_, found)| is_missing(found));
        let ids: BTreeSet<u32> = missing.filter_map(|(wanted, _)| wanted.id).collect();
        let holders = if ids.is_empty() {
            BTreeMap::new()
        } else {
            tasks.holders(&ids)
        };
        let before = self.files.len();
        for (wanted, found) in wanted.into_iter().zip(found) {
            let holder = wanted.id.and_then(|id| holders.get(&id));
            let status = match found {
                Found::Settled(status) => status,
                Found::Missing(existing) => self.plan_file(&wanted, existing, holder),
            };
            let is_over = |failure: &Failure| failure.cause == Cause::TooMany;
            if status.as_ref().err().is_some_and(is_over) {
                // All or nothing: half of it is of no use.
                self.files.truncate(before);
                let is_kept = |need| !matches!(need, Need::File(file) if file >= before);
                self.tree.pending.keep(is_kept);
                return true;
            }
            let status = self.settled(status);
            self.files.push(PlannedFile {
                at: wanted.source.at(wanted.at.view()),
                parent: wanted.parent,
                path: wanted.path,
                kind: wanted.kind,
                mode: wanted.mode,
                size: wanted.size,
                is_held: wanted.id.is_some(),
                status,
            });
        }
        false
    }

    /// CRIU makes a deleted file anew, in a directory that it makes too if it is gone.
    fn judge_deleted(&mut self, source: SourceId) -> Result<Status, Failure> {
        if self.tree.sources.is_absent(source) {
            return Ok(Status::Restored);
        }
        let judged = self.tree.sources.judge(source, RelRef::ROOT);
        let judged = judged.map_err(|cause| Failure {
            at: Some(source.at(RelRef::ROOT)),
            cause,
        })?;
        Ok(if judged.file_system.read_only {
            Status::Differs(Difference::ReadOnly)
        } else {
            Status::Restored
        })
    }

    /// Looks for something that CRIU opens.
    fn find(&mut self, wanted: &Wanted) -> Found {
        let (source, path) = (wanted.source, wanted.at.view());
        let failed = |path, cause| {
            Found::Settled(Err(Failure {
                at: Some(source.at(path)),
                cause,
            }))
        };
        if path.size() >= PATH_MAX {
            return failed(RelRef::ROOT, Cause::TooLong);
        }
        if path.is_root() && self.tree.sources.is_absent(source) {
            // The mountpoint of an earlier mount, which will be there.
            return Found::Settled(Ok(Status::Present));
        }
        if wanted.kind == OpenKind::Deleted {
            return Found::Settled(self.judge_deleted(source));
        }
        match self.tree.sources.inode(source, path) {
            Ok(Some(inode)) => {
                let sources = &mut self.tree.sources;
                let build_id = || build_id(&sources.open_file(source, path)?);
                let skips = self.options.comparison.skips_permissions;
                let compared = compare(wanted, &inode, build_id, skips);
                return Found::Settled(compared.map_err(|cause| Failure {
                    at: Some(source.at(path)),
                    cause,
                }));
            }
            Ok(None) => {}
            Err(cause) => return failed(path, cause),
        }
        for prefix in path.ancestors().skip(1) {
            let seen = match self.tree.sources.look(source, prefix, true) {
                Ok(seen) => seen,
                Err(cause) => return failed(prefix, cause),
            };
            return match seen {
                Seen::Missing | Seen::Blocked => continue,
                // CRIU would follow it.
                Seen::Link(_) => Found::Settled(Ok(Status::NotInspected(Reason::Link))),
                Seen::Directory => Found::Missing(prefix.depth()),
                Seen::File => failed(prefix, Cause::NotADirectory),
            };
        }
        failed(RelRef::ROOT, Cause::Changed)
    }

    fn plan_file(
        &mut self,
        wanted: &Wanted,
        existing: usize,
        holder: Option<&Holder>,
    ) -> Result<Status, Failure> {
        let at = || Some(wanted.source.at(wanted.at.view()));
        let kind = match wanted.kind {
            OpenKind::Directory | OpenKind::SocketDirectory => NewKind::Directory,
            OpenKind::Fifo => NewKind::Fifo,
            OpenKind::EmptyFile => NewKind::File,
            OpenKind::File | OpenKind::Device => return Ok(Status::MissingContent),
            // CRIU creates it.
            OpenKind::Socket | OpenKind::Deleted => return Ok(Status::Restored),
            OpenKind::Log if self.options.append => NewKind::File,
            OpenKind::Log => return Ok(Status::NotRequested),
            // Whatever a task is in is a directory.
            OpenKind::Unknown if holder.is_some_and(|holder| holder.is_in_it) => NewKind::Directory,
            OpenKind::Unknown => return Ok(Status::KindUnknown),
        };
        let failed = |cause| Failure { at: at(), cause };
        // crun creates the working directory before it makes mounts read-only.
        if wanted.read_only && !wanted.is_of_runtime {
            let call = match kind {
                NewKind::Directory => "mkdirat",
                NewKind::Fifo => "mknodat",
                NewKind::File => "openat",
            };
            return Err(failed(Cause::system(call)(Errno::EROFS)));
        }
        let maker = if wanted.is_of_runtime {
            Some(MakerId::RUNTIME)
        } else {
            self.maker(holder)
        };
        let maker = maker.ok_or_else(|| failed(Cause::system("setfsuid")(Errno::EINVAL)))?;
        let needed = Needed {
            kind,
            mode: wanted.mode.map(|mode| {
                mode & match kind {
                    NewKind::Directory => DIRECTORY_MODE,
                    NewKind::File | NewKind::Fifo => FILE_MODE,
                }
            }),
            maker,
            by: Need::File(self.files.len()),
        };
        let at: HostPlace = wanted.source.at(wanted.at.view());
        self.missing(at.source, at.view(), existing, needed)
    }
}
