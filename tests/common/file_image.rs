// SPDX-License-Identifier: Apache-2.0
//! Images of open files and of tasks as CRIU writes them (images/fdinfo.proto and what it imports).

use prost::Message;

/// An entry of `files.img`, with what premount reads of it.
#[derive(Clone, PartialEq, Message)]
pub struct FileEntry {
    #[prost(uint32, required, tag = "1")]
    pub r#type: u32,
    #[prost(uint32, required, tag = "2")]
    pub id: u32,
    #[prost(message, optional, tag = "3")]
    pub reg: Option<Regular>,
    #[prost(message, optional, tag = "13")]
    pub ify: Option<Inotify>,
    #[prost(message, optional, tag = "16")]
    pub usk: Option<Socket>,
    #[prost(message, optional, tag = "17")]
    pub fifo: Option<Fifo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Regular {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(uint32, required, tag = "2")]
    pub flags: u32,
    #[prost(bytes = "vec", required, tag = "6")]
    pub name: Vec<u8>,
    #[prost(sint32, optional, tag = "7")]
    pub mnt_id: Option<i32>,
    #[prost(uint64, optional, tag = "8")]
    pub size: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    pub mode: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Fifo {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(uint32, required, tag = "2")]
    pub pipe_id: u32,
    #[prost(uint32, optional, tag = "3")]
    pub regf_id: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Socket {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(uint32, required, tag = "3")]
    pub r#type: u32,
    #[prost(uint32, required, tag = "4")]
    pub state: u32,
    #[prost(bytes = "vec", required, tag = "11")]
    pub name: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "14")]
    pub name_dir: Option<Vec<u8>>,
    #[prost(sint32, optional, tag = "17")]
    pub mnt_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Inotify {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(message, repeated, tag = "5")]
    pub wd: Vec<Watch>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Watch {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(uint32, required, tag = "3")]
    pub mask: u32,
    #[prost(message, optional, tag = "7")]
    pub f_handle: Option<Handle>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Handle {
    #[prost(uint32, required, tag = "1")]
    pub bytes: u32,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub path: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    pub mnt_id: Option<u32>,
}

/// What an image begins with, after the common magic number.
pub const FILES: u32 = 0x5630_3138;
pub const REGULAR: u32 = 0x5036_3636;
pub const FIFOS: u32 = 0x5836_4939;
pub const SOCKETS: u32 = 0x5437_3943;
pub const REMAPS: u32 = 0x5913_3954;
pub const CORE: u32 = 0x5505_3847;
pub const DIRECTORIES: u32 = 0x5140_3912;

/// The mount of [`container`](super::mount_image::container)'s volume.
pub const VOLUME: i32 = 2;

/// An inode with a path that a task has open; `mode` with the kind.
pub fn open(id: u32, path: &str, mode: u32, size: Option<u64>) -> FileEntry {
    FileEntry {
        r#type: 1,
        id,
        reg: Some(Regular {
            id,
            flags: 0,
            name: path.into(),
            mnt_id: Some(VOLUME),
            size,
            mode: Some(mode),
        }),
        ..FileEntry::default()
    }
}

pub fn directory(id: u32, path: &str, mode: u32) -> FileEntry {
    open(id, path, 0o40_000 | mode, None)
}

pub fn file(id: u32, path: &str, mode: u32) -> FileEntry {
    open(id, path, 0o100_000 | mode, Some(0))
}

pub fn fifo(id: u32, path: &str, mode: u32) -> [FileEntry; 2] {
    let fifo = FileEntry {
        r#type: 3,
        id: id + 1000,
        fifo: Some(Fifo {
            id: id + 1000,
            pipe_id: id,
            regf_id: Some(id),
        }),
        ..FileEntry::default()
    };
    [open(id, path, 0o10_000 | mode, None), fifo]
}

/// A socket that listens.
pub fn socket(id: u32, path: &str) -> FileEntry {
    let name = [path.as_bytes(), b"\0"].concat();
    FileEntry {
        r#type: 5,
        id,
        usk: Some(Socket {
            id,
            r#type: 1,
            state: 10,
            name,
            name_dir: None,
            mnt_id: Some(VOLUME),
        }),
        ..FileEntry::default()
    }
}

/// An inotify watch of these events.
pub fn watch(id: u32, path: &str, mask: u32) -> FileEntry {
    let handle = Handle {
        bytes: 8,
        path: Some(path.into()),
        mnt_id: Some(2),
    };
    let watch = Watch {
        id,
        mask,
        f_handle: Some(handle),
    };
    FileEntry {
        r#type: 8,
        id,
        ify: Some(Inotify {
            id,
            wd: vec![watch],
        }),
        ..FileEntry::default()
    }
}

/// The bytes of an image.
pub fn image(magic: u32, entries: &[impl Message]) -> Vec<u8> {
    let mut image = [0x5456_4319_u32.to_le_bytes(), magic.to_le_bytes()].concat();
    for entry in entries {
        let bytes = entry.encode_to_vec();
        image.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        image.extend(bytes);
    }
    image
}

/// `fs-PID.img`: a task whose working directory is a file.
pub fn working_directory(id: u32) -> Vec<u8> {
    #[derive(Clone, PartialEq, Message)]
    struct Directories {
        #[prost(uint32, required, tag = "1")]
        cwd_id: u32,
        #[prost(uint32, required, tag = "2")]
        root_id: u32,
    }
    let directories = Directories {
        cwd_id: id,
        root_id: 0,
    };
    image(DIRECTORIES, &[directories])
}

/// `core-PID.img`: a task with these IDs.
pub fn core(uid: u32, gid: u32, groups: &[u32]) -> Vec<u8> {
    #[derive(Clone, PartialEq, Message)]
    struct Core {
        #[prost(message, optional, tag = "5")]
        thread: Option<Thread>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Thread {
        #[prost(message, optional, tag = "10")]
        creds: Option<Creds>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Creds {
        #[prost(uint32, required, tag = "7")]
        fsuid: u32,
        #[prost(uint32, required, tag = "8")]
        fsgid: u32,
        #[prost(uint32, repeated, packed = "false", tag = "14")]
        groups: Vec<u32>,
    }
    let creds = Creds {
        fsuid: uid,
        fsgid: gid,
        groups: groups.to_vec(),
    };
    let thread = Thread { creds: Some(creds) };
    image(
        CORE,
        &[Core {
            thread: Some(thread),
        }],
    )
}
