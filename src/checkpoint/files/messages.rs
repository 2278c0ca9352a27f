// SPDX-License-Identifier: Apache-2.0
//! CRIU's messages about open files, with the fields that premount reads. Paths are bytes: CRIU doesn't check
//! that its protobuf strings are UTF-8.

use prost::Message;

use crate::checkpoint::image::Entry;

impl Entry for Regular {}
impl Entry for Fifo {}
impl Entry for Socket {}
impl Entry for InotifyFile {}
impl Entry for InotifyWatch {}
impl Entry for FanotifyFile {}
impl Entry for FanotifyMark {}
impl Entry for Remap {}

impl Entry for File {
    /// Nearly all files have a path, for which the memory of the last one is used again.
    fn forget(&mut self) {
        let mut regular = self.reg.take();
        if let Some(regular) = &mut regular {
            regular.clear();
        }
        self.clear();
        self.reg = regular;
    }
}

/// `file_entry` (images/fdinfo.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct File {
    #[prost(message, optional, tag = "3")]
    pub reg: Option<Regular>,
    #[prost(message, optional, tag = "4")]
    pub isk: Option<InetSocket>,
    #[prost(message, optional, tag = "13")]
    pub ify: Option<InotifyFile>,
    #[prost(message, optional, tag = "14")]
    pub ffy: Option<FanotifyFile>,
    #[prost(message, optional, tag = "16")]
    pub usk: Option<Socket>,
    #[prost(message, optional, tag = "17")]
    pub fifo: Option<Fifo>,
}

/// `reg_file_entry` (images/regfile.proto): anything with a path.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Regular {
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
    #[prost(bool, optional, tag = "9")]
    pub ext: Option<bool>,
    #[prost(uint32, optional, tag = "10")]
    pub mode: Option<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "11")]
    pub build_id: Vec<u32>,
}

/// `fifo_entry` (images/fifo.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct Fifo {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(uint32, optional, tag = "3")]
    pub regf_id: Option<u32>,
}

/// `unix_sk_entry` (images/sk-unix.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct Socket {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(uint32, required, tag = "3")]
    pub r#type: u32,
    #[prost(uint32, required, tag = "4")]
    pub state: u32,
    #[prost(uint32, optional, tag = "6")]
    pub uflags: Option<u32>,
    #[prost(bytes = "vec", required, tag = "11")]
    pub name: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "14")]
    pub name_dir: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "15")]
    pub deleted: Option<bool>,
    #[prost(sint32, optional, tag = "17")]
    pub mnt_id: Option<i32>,
}

/// `inet_sk_entry` (images/sk-inet.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct InetSocket {
    #[prost(uint32, required, tag = "3")]
    pub family: u32,
    #[prost(uint32, required, tag = "5")]
    pub proto: u32,
    #[prost(uint32, required, tag = "7")]
    pub src_port: u32,
    #[prost(uint32, required, tag = "8")]
    pub dst_port: u32,
    #[prost(uint32, repeated, packed = "false", tag = "11")]
    pub src_addr: Vec<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "12")]
    pub dst_addr: Vec<u32>,
}

/// `inotify_file_entry` (images/fsnotify.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct InotifyFile {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(message, repeated, tag = "5")]
    pub wd: Vec<InotifyWatch>,
}

/// `inotify_wd_entry` (images/fsnotify.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct InotifyWatch {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(uint32, required, tag = "3")]
    pub mask: u32,
    #[prost(message, optional, tag = "7")]
    pub f_handle: Option<Handle>,
}

/// `fanotify_file_entry` (images/fsnotify.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct FanotifyFile {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(message, repeated, tag = "6")]
    pub mark: Vec<FanotifyMark>,
}

/// `fanotify_mark_entry` (images/fsnotify.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct FanotifyMark {
    #[prost(uint32, required, tag = "1")]
    pub id: u32,
    #[prost(uint32, required, tag = "4")]
    pub mask: u32,
    #[prost(uint32, required, tag = "5")]
    pub ignored_mask: u32,
    #[prost(message, optional, tag = "7")]
    pub ie: Option<FanotifyInode>,
}

/// `fanotify_inode_mark_entry` (images/fsnotify.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct FanotifyInode {
    #[prost(message, optional, tag = "2")]
    pub f_handle: Option<Handle>,
}

/// `fh_entry` (images/fh.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct Handle {
    #[prost(bytes = "vec", optional, tag = "4")]
    pub path: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    pub mnt_id: Option<u32>,
}

/// `remap_file_path_entry` (images/remap-file-path.proto).
#[derive(Clone, PartialEq, Message)]
pub(super) struct Remap {
    #[prost(uint32, required, tag = "1")]
    pub orig_id: u32,
}
