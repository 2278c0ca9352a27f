// SPDX-License-Identifier: Apache-2.0
//! The tasks of a checkpoint: who holds which open file, with what credentials (CRIU images/core.proto,
//! creds.proto, fs.proto, fdinfo.proto, mm.proto).
//!
//! They are needed only if something is missing that a task made, and read only then. An image that can't be
//! read, or that exceeds a limit, tells nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use prost::Message;

use super::ImageDirectory;
use super::image::{Entries, Entry, Image, MachineImage, TaskImage};
use super::machine::{Machine, TasksMachine};
use crate::error::Error;

/// Maximum number of images of tasks.
pub(super) const MAX_IMAGES: usize = 1 << 16;
/// Maximum number of files that all tasks hold, and of groups that they are in.
const MAX_HELD: usize = 1 << 18;
/// Maximum bytes in an entry: a task with 64,000 mappings has 4 MiB of them.
const MAX_ENTRY: usize = 4 << 20;
/// Maximum bytes of all images of tasks.
const MAX_BYTES: usize = 64 << 20;

/// The IDs with which a task creates files (credentials(7)), as its user namespace has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credentials {
    /// The file system user ID.
    pub uid: u32,
    /// The file system group ID.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// The task that holds a file.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    /// Its credentials, if they are known.
    pub credentials: Option<Credentials>,
    /// Whether the file is its working directory or its root.
    pub is_in_it: bool,
}

/// The tasks of a checkpoint, or where to read them.
#[derive(Debug)]
pub enum Tasks {
    /// In an image directory, with these images.
    InDirectory {
        directory: ImageDirectory,
        tasks: Vec<(TaskImage, u32)>,
        machine: Vec<MachineImage>,
    },
    /// As read.
    Read {
        table: Box<TaskTable>,
        machine: Box<Machine>,
    },
}

impl Default for Tasks {
    fn default() -> Self {
        Self::Read {
            table: Box::default(),
            machine: Box::default(),
        }
    }
}

impl Tasks {
    /// The holder of each file of `wanted`, by the file's ID: the task with the lowest process ID. Files that no
    /// task holds are left out.
    pub fn holders(&self, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Holder> {
        match self {
            Self::Read { table, .. } => table.holders(wanted),
            Self::InDirectory {
                directory, tasks, ..
            } => {
                let mut table = TaskTable::default();
                for &(image, number) in tasks {
                    // CRIU will report what it can't read.
                    let _ = table.read_from(directory, image, number);
                }
                table.holders(wanted)
            }
        }
    }
}

impl Tasks {
    /// The machine that they ran on, as all of them say, or the first if not `is_thorough`; then without its cgroups.
    /// What can't be read says nothing.
    pub fn machine(&self, is_thorough: bool) -> Machine {
        match self {
            Self::Read { table, machine } => Machine {
                tasks: table.machine.clone(),
                ..(**machine).clone()
            },
            Self::InDirectory {
                directory,
                tasks,
                machine,
            } => {
                let mut read = Machine::default();
                let is_read =
                    |kind: &&MachineImage| is_thorough || **kind == MachineImage::Inventory;
                for &kind in machine.iter().filter(is_read) {
                    let image = Image::Machine(kind);
                    let done =
                        directory.open_image(image, |content, file| read.read(content, kind, file));
                    read.is_partial |= done.is_err();
                }
                let mut table = TaskTable::default();
                let core = tasks.iter().filter(|(image, _)| *image == TaskImage::Core);
                let mut core: Vec<u32> = core.map(|&(_, number)| number).collect();
                core.sort_unstable();
                let most = if is_thorough { core.len() } else { 1 };
                for &number in core.iter().take(most) {
                    let done = table.read_from(directory, TaskImage::Core, number);
                    read.is_partial |= done.is_err();
                }
                read.tasks = table.machine;
                read
            }
        }
    }
}

/// What is known of each task, by process ID.
#[derive(Debug)]
pub struct TaskTable {
    credentials: BTreeMap<u32, Credentials>,
    /// The working directory and the root.
    directories: BTreeMap<u32, [u32; 2]>,
    /// The executable and the mapped files.
    mapped: BTreeMap<u32, Vec<u32>>,
    /// The ID of the table of file descriptors.
    tables: BTreeMap<u32, u32>,
    /// The files of each table.
    files: BTreeMap<u32, Vec<u32>>,
    /// The machine that they ran on.
    machine: TasksMachine,
    images: usize,
    held: usize,
    bytes: usize,
}

impl Default for TaskTable {
    fn default() -> Self {
        Self {
            credentials: BTreeMap::new(),
            directories: BTreeMap::new(),
            mapped: BTreeMap::new(),
            tables: BTreeMap::new(),
            files: BTreeMap::new(),
            machine: TasksMachine::default(),
            images: MAX_IMAGES,
            held: MAX_HELD,
            bytes: MAX_BYTES,
        }
    }
}

impl TaskTable {
    fn read_from(
        &mut self,
        directory: &ImageDirectory,
        image: TaskImage,
        number: u32,
    ) -> Result<(), Error> {
        let kind = Image::Task(image, number);
        directory.open_image(kind, |content, _| self.read(content, image, number))
    }

    /// Reads an image.
    ///
    /// # Errors
    ///
    /// It can't be read, is invalid, or exceeds a limit.
    pub fn read(
        &mut self,
        content: &mut dyn BufRead,
        image: TaskImage,
        number: u32,
    ) -> Result<(), Error> {
        let kind = Image::Task(image, number);
        let file = kind.name();
        let file = file.as_ref();
        let too_many = |what: &str| Error::invalid(file, "", format!("too many {what}"));
        take(&mut self.images, 1).ok_or_else(|| too_many("tasks"))?;
        let mut entries = Entries::new(content, kind, file, MAX_ENTRY)?;
        let bytes = &mut self.bytes;
        let mut allow = |size| take(bytes, size).ok_or_else(|| too_many("bytes"));
        match image {
            TaskImage::Core => {
                let mut core = Core::default();
                if entries.next(&mut core, &mut allow)? {
                    if let Some(ids) = core.ids {
                        self.tables.entry(number).or_insert(ids.files_id);
                    }
                    let mut creds = core.thread.and_then(|thread| thread.creds);
                    let profile = creds.as_mut().and_then(|creds| creds.lsm_profile.take());
                    let state = core.thread_info.and_then(|info| info.fpregs?.xsave);
                    let xstate = state.map(|state| state.xstate_bv);
                    self.machine.add(core.mtype, profile, xstate);
                    if let Some(creds) = creds {
                        take(&mut self.held, creds.groups.len())
                            .ok_or_else(|| too_many("groups"))?;
                        self.credentials.insert(number, creds.credentials());
                    }
                }
            }
            TaskImage::Credentials => {
                let mut creds = Creds::default();
                if entries.next(&mut creds, &mut allow)? {
                    take(&mut self.held, creds.groups.len()).ok_or_else(|| too_many("groups"))?;
                    self.credentials
                        .entry(number)
                        .or_insert_with(|| creds.credentials());
                }
            }
            TaskImage::Directories => {
                let mut directories = Directories::default();
                if entries.next(&mut directories, &mut allow)? {
                    let both = [directories.cwd_id, directories.root_id];
                    self.directories.insert(number, both);
                }
            }
            TaskImage::Ids => {
                let mut ids = Ids::default();
                if entries.next(&mut ids, &mut allow)? {
                    self.tables.insert(number, ids.files_id);
                }
            }
            TaskImage::Memory => {
                let mut memory = Memory::default();
                if entries.next(&mut memory, &mut allow)? {
                    // Of anonymous memory this is 0, or the ID of something else: then the wrong task may be
                    // found, of the same container.
                    let mapped = memory
                        .vmas
                        .iter()
                        .filter_map(|map| map.shmid.try_into().ok());
                    let mut mapped: BTreeSet<u32> = mapped.collect();
                    mapped.insert(memory.exe_file_id);
                    take(&mut self.held, mapped.len()).ok_or_else(|| too_many("files"))?;
                    self.mapped.insert(number, mapped.into_iter().collect());
                }
            }
            TaskImage::Descriptors => {
                let mut descriptor = Descriptor::default();
                let mut files = Vec::new();
                while entries.next(&mut descriptor, &mut allow)? {
                    take(&mut self.held, 1).ok_or_else(|| too_many("files"))?;
                    files.push(descriptor.id);
                }
                self.files.insert(number, files);
            }
        }
        Ok(())
    }

    fn holders(&self, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Holder> {
        let tasks = self.directories.keys().chain(self.tables.keys());
        let tasks: BTreeSet<u32> = tasks.chain(self.mapped.keys()).copied().collect();
        let mut holders: BTreeMap<u32, Holder> = BTreeMap::new();
        for task in tasks {
            let in_it = self.directories.get(&task).into_iter().flatten();
            let in_it = in_it.map(|&id| (id, true));
            // Before CRIU had IDs of tables, each task had its own.
            let table = self.tables.get(&task).unwrap_or(&task);
            let open = self.files.get(table).into_iter().flatten();
            let mapped = self.mapped.get(&task).into_iter().flatten();
            let held = open.chain(mapped).map(|&id| (id, false));
            for (id, is_in_it) in in_it.chain(held).filter(|(id, _)| wanted.contains(id)) {
                let holder = holders.entry(id).or_default();
                holder.is_in_it |= is_in_it;
                if holder.credentials.is_none() {
                    holder.credentials = self.credentials.get(&task).cloned();
                }
            }
        }
        holders
    }
}

fn take(left: &mut usize, size: usize) -> Option<()> {
    *left = left.checked_sub(size)?;
    Some(())
}

impl Entry for Core {}
impl Entry for Creds {}
impl Entry for Directories {}
impl Entry for Ids {}
impl Entry for Memory {}
impl Entry for Descriptor {}

/// `core_entry`.
#[derive(Clone, PartialEq, Message)]
struct Core {
    #[prost(uint32, required, tag = "1")]
    mtype: u32,
    #[prost(message, optional, tag = "2")]
    thread_info: Option<X86>,
    #[prost(message, optional, tag = "4")]
    ids: Option<Ids>,
    #[prost(message, optional, tag = "5")]
    thread: Option<ThreadCore>,
}

/// `thread_info_x86`.
#[derive(Clone, PartialEq, Message)]
struct X86 {
    #[prost(message, optional, tag = "3")]
    fpregs: Option<X86Registers>,
}

/// `user_x86_fpregs_entry`.
#[derive(Clone, PartialEq, Message)]
struct X86Registers {
    #[prost(message, optional, tag = "13")]
    xsave: Option<X86State>,
}

/// `user_x86_xsave_entry`.
#[derive(Clone, PartialEq, Message)]
struct X86State {
    #[prost(uint64, required, tag = "1")]
    xstate_bv: u64,
}

/// `thread_core_entry`.
#[derive(Clone, PartialEq, Message)]
struct ThreadCore {
    #[prost(message, optional, tag = "10")]
    creds: Option<Creds>,
}

/// `creds_entry`.
#[derive(Clone, PartialEq, Message)]
struct Creds {
    #[prost(uint32, required, tag = "7")]
    fsuid: u32,
    #[prost(uint32, required, tag = "8")]
    fsgid: u32,
    #[prost(uint32, repeated, packed = "false", tag = "14")]
    groups: Vec<u32>,
    #[prost(bytes = "vec", optional, tag = "15")]
    lsm_profile: Option<Vec<u8>>,
}

impl Creds {
    fn credentials(self) -> Credentials {
        Credentials {
            uid: self.fsuid,
            gid: self.fsgid,
            groups: self.groups,
        }
    }
}

/// `fs_entry`.
#[derive(Clone, PartialEq, Message)]
struct Directories {
    #[prost(uint32, required, tag = "1")]
    cwd_id: u32,
    #[prost(uint32, required, tag = "2")]
    root_id: u32,
}

/// `task_kobj_ids_entry`.
#[derive(Clone, PartialEq, Message)]
struct Ids {
    #[prost(uint32, required, tag = "2")]
    files_id: u32,
}

/// `mm_entry`.
#[derive(Clone, PartialEq, Message)]
struct Memory {
    #[prost(uint32, required, tag = "12")]
    exe_file_id: u32,
    #[prost(message, repeated, tag = "14")]
    vmas: Vec<Mapping>,
}

/// `vma_entry`.
#[derive(Clone, PartialEq, Message)]
struct Mapping {
    /// Of a mapped file, its ID.
    #[prost(uint64, required, tag = "4")]
    shmid: u64,
}

/// `fdinfo_entry`.
#[derive(Clone, PartialEq, Message)]
struct Descriptor {
    #[prost(uint32, required, tag = "1")]
    id: u32,
}
