// SPDX-License-Identifier: Apache-2.0
//! An image of mounts as CRIU writes it (images/mnt.proto).

use std::fs;

use prost::Message;

use super::World;

/// An entry of `mountpoints-*.img`, with what premount reads of it.
#[derive(Clone, PartialEq, Message)]
pub struct MountEntry {
    #[prost(uint32, required, tag = "1")]
    pub fstype: u32,
    #[prost(uint32, required, tag = "2")]
    pub mnt_id: u32,
    #[prost(uint32, required, tag = "3")]
    pub root_dev: u32,
    #[prost(uint32, required, tag = "4")]
    pub parent_mnt_id: u32,
    #[prost(uint32, required, tag = "5")]
    pub flags: u32,
    #[prost(bytes = "vec", required, tag = "6")]
    pub root: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "7")]
    pub mountpoint: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "8")]
    pub source: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "9")]
    pub options: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "14")]
    pub fsname: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "18")]
    pub ext_key: Option<Vec<u8>>,
}

const TMPFS: u32 = 5;

/// A tmpfs.
pub fn entry(id: u32, parent: u32, device: u32, root: &str, at: &str) -> MountEntry {
    MountEntry {
        fstype: TMPFS,
        mnt_id: id,
        root_dev: device,
        parent_mnt_id: parent,
        root: root.into(),
        mountpoint: at.into(),
        ..MountEntry::default()
    }
}

/// The rootfs, and the volume /data of the configuration.
pub fn container() -> Vec<MountEntry> {
    let mut data = entry(2, 1, 2, "/vol", "/data");
    data.ext_key = Some(b"/data".to_vec());
    vec![entry(1, 0, 1, "/rootfs", "/"), data]
}

/// The bytes of the file.
pub fn image(entries: &[MountEntry]) -> Vec<u8> {
    let mut image = [0x5456_4319_u32.to_le_bytes(), 0x5556_3928_u32.to_le_bytes()].concat();
    for entry in entries {
        let bytes = entry.encode_to_vec();
        image.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        image.extend(bytes);
    }
    image
}

/// The checkpoint beside a world's configuration, where CRI-O and Podman have it.
pub fn checkpoint(world: &World, entries: &[MountEntry]) {
    let file = world
        .directory("bundle/checkpoint")
        .join("mountpoints-12.img");
    fs::write(file, image(entries)).unwrap();
}
