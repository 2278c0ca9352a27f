// SPDX-License-Identifier: Apache-2.0
//! What a checkpoint says of the machine that it was made on, as far as CRIU asks the next one for the same
//! (CRIU images/inventory.proto, core.proto, cgroup.proto).

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use prost::Message;

use super::image::{Entries, Entry, Image, MachineImage};
use crate::error::Error;

/// Maximum bytes in the entry of an inventory, and in that of cgroups, which has all properties of a container's own.
const MAX_INVENTORY: usize = 64 << 10;
const MAX_CGROUPS: usize = 1 << 20;
/// Maximum number of names kept of each kind, and of bytes in one: no machine has as many.
const MOST: usize = 64;
const MAX_NAME: usize = 4096;

/// The machine that a checkpoint was made on.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The version of the images' format, if there is an inventory.
    pub version: Option<u32>,
    /// Its Linux security module.
    pub lsm: Lsm,
    /// Whether its connections were closed (`--tcp-close`).
    pub tcp_close: bool,
    /// The plugins of CRIU's that were used.
    pub plugins: BTreeSet<String>,
    /// The controllers of cgroup v1 that the container was in.
    pub controllers: BTreeSet<String>,
    /// What its tasks say.
    pub tasks: TasksMachine,
    /// Whether an image can't be read.
    pub is_partial: bool,
}

/// What the tasks of a checkpoint say of the machine.
#[derive(Clone, Debug, Default)]
pub struct TasksMachine {
    /// CRIU's number of the architecture (`core_entry.march`).
    pub architecture: Option<u32>,
    /// The labels or profiles of the Linux security module that tasks have.
    pub profiles: BTreeSet<String>,
    /// The parts of the processor's extended state that are in use (`XSTATE_BV`), on x86.
    pub xstate: u64,
}

/// A Linux security module, by CRIU's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lsm {
    /// None that CRIU knows.
    #[default]
    None,
    SeLinux,
    AppArmor,
    /// One of a later CRIU's.
    Other,
}

impl Machine {
    /// Reads an image to its end. Errors name `file`.
    ///
    /// # Errors
    ///
    /// The image can't be read, is invalid, or is too long.
    pub(super) fn read(
        &mut self,
        content: &mut dyn BufRead,
        kind: MachineImage,
        file: &Path,
    ) -> Result<(), Error> {
        let longest = match kind {
            MachineImage::Inventory => MAX_INVENTORY,
            MachineImage::Cgroups => MAX_CGROUPS,
        };
        let mut entries = Entries::new(content, Image::Machine(kind), file, longest)?;
        let allow = |_| Ok(());
        match kind {
            MachineImage::Inventory => {
                let mut inventory = Inventory::default();
                if entries.next(&mut inventory, allow)? {
                    self.version = Some(inventory.img_version);
                    self.tcp_close = inventory.tcp_close == Some(true);
                    self.lsm = match inventory.lsmtype {
                        None | Some(0) => Lsm::None,
                        Some(1) => Lsm::SeLinux,
                        Some(2) => Lsm::AppArmor,
                        Some(_) => Lsm::Other,
                    };
                    let plugins = inventory.plugins_entry.unwrap_or_default();
                    add(&mut self.plugins, plugins.plugins);
                }
            }
            MachineImage::Cgroups => {
                let mut cgroups = Cgroups::default();
                if entries.next(&mut cgroups, allow)? && !cgroups.sets.is_empty() {
                    let names = cgroups.controllers.into_iter().flat_map(|one| one.cnames);
                    // "" is cgroup v2, and a hierarchy with a name has no controller.
                    let is_v1 = |name: &Vec<u8>| !name.is_empty() && !name.starts_with(b"name=");
                    add(&mut self.controllers, names.filter(is_v1));
                }
            }
        }
        Ok(())
    }
}

impl TasksMachine {
    pub(super) fn add(&mut self, architecture: u32, profile: Option<Vec<u8>>, xstate: Option<u64>) {
        self.architecture.get_or_insert(architecture);
        let profile = profile.filter(|profile| !profile.is_empty());
        add(&mut self.profiles, profile);
        self.xstate |= xstate.unwrap_or_default();
    }
}

fn add(all: &mut BTreeSet<String>, names: impl IntoIterator<Item = Vec<u8>>) {
    for name in names {
        if all.len() < MOST && name.len() <= MAX_NAME {
            all.insert(String::from_utf8_lossy(&name).into_owned());
        }
    }
}

impl Entry for Inventory {}
impl Entry for Cgroups {}

/// `inventory_entry`.
#[derive(Clone, PartialEq, Message)]
struct Inventory {
    #[prost(uint32, required, tag = "1")]
    img_version: u32,
    #[prost(uint32, optional, tag = "6")]
    lsmtype: Option<u32>,
    #[prost(bool, optional, tag = "10")]
    tcp_close: Option<bool>,
    #[prost(message, optional, tag = "12")]
    plugins_entry: Option<Plugins>,
}

/// `plugins_entry`.
#[derive(Clone, PartialEq, Message)]
struct Plugins {
    #[prost(bytes = "vec", repeated, tag = "12")]
    plugins: Vec<Vec<u8>>,
}

/// `cgroup_entry`.
#[derive(Clone, PartialEq, Message)]
struct Cgroups {
    #[prost(message, repeated, tag = "1")]
    sets: Vec<CgroupSet>,
    #[prost(message, repeated, tag = "2")]
    controllers: Vec<Controller>,
}

/// `cg_set_entry`.
#[derive(Clone, PartialEq, Message)]
struct CgroupSet {
    #[prost(uint32, required, tag = "1")]
    id: u32,
}

/// `cg_controller_entry`.
#[derive(Clone, PartialEq, Message)]
struct Controller {
    #[prost(bytes = "vec", repeated, tag = "1")]
    cnames: Vec<Vec<u8>>,
}
