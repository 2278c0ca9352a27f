// SPDX-License-Identifier: Apache-2.0
//! What keeps CRIU from restoring a checkpoint on this host, besides mounts and files: each only where it can be told
//! without CRIU.

use super::FindingKind;
use crate::checkpoint::{Checkpoint, Lsm, Machine, Sockets};
use crate::cli::Runtime;
use crate::escape::Escaped;
use crate::host::{self, Addresses};
use crate::oci::config::Network;

/// Versions of the images' format that CRIU reads (CRIU criu/image.c, `check_img_inventory`).
const VERSIONS: [u32; 2] = [1, 2];
/// Bits of the processor's extended state (Intel SDM 1, 13.1), and the features that need them.
const STATES: [(u64, &str); 3] = [
    (1 << 2, "avx"),
    (0b111 << 5, "avx512f"),
    (0b11 << 17, "amx_tile"),
];

/// A finding about the host.
#[derive(Clone, Debug)]
pub struct HostFinding {
    /// What it is.
    pub kind: FindingKind,
    /// What it is about: a profile, an address.
    pub detail: String,
    /// What CRIU would report.
    pub criu: String,
}

/// What keeps CRIU from restoring a checkpoint on this host.
#[derive(Debug, Default)]
pub struct OfHost {
    /// What was found.
    pub findings: Vec<HostFinding>,
    /// Whether an image couldn't be read that may say more.
    pub is_partial: bool,
}

/// What keeps CRIU from restoring a checkpoint on this host. Unless `is_thorough`, only what takes a few system calls to
/// tell: in a restore each counts, and most tasks of a container are alike.
pub fn of_host(
    checkpoint: &Checkpoint,
    network: Network,
    runtime: Option<Runtime>,
    is_thorough: bool,
) -> OfHost {
    let machine = checkpoint.tasks.machine(is_thorough);
    let mut all = Vec::new();
    let mut add = |kind, detail: String, criu: String| all.push(HostFinding { kind, detail, criu });
    let version = machine
        .version
        .filter(|version| !VERSIONS.contains(version));
    if let Some(version) = version {
        let criu = format!("Not supported images version {version}");
        add(FindingKind::ImageVersion, version.to_string(), criu);
    }
    if let Some(there) = machine.tasks.architecture {
        if host::architecture().is_some_and(|here| here != there) {
            let name = architecture(there);
            add(
                FindingKind::OtherArchitecture,
                name,
                format!("Core march mismatch {there}"),
            );
        }
    }
    of_lsm(&machine, &mut add);
    for plugin in &machine.plugins {
        if host::has_plugin(plugin) == Some(false) {
            let plugin = Escaped(plugin.as_bytes()).to_string();
            let criu = format!("Missing required plugin: {plugin}");
            add(FindingKind::MissingPlugin, plugin, criu);
        }
    }
    of_cgroups(&machine, runtime, &mut add);
    of_sockets(
        &checkpoint.sockets,
        &machine,
        network,
        runtime,
        is_thorough,
        &mut add,
    );
    if is_thorough {
        of_processor(machine.tasks.xstate, &mut add);
    }
    OfHost {
        findings: all,
        is_partial: machine.is_partial,
    }
}

/// What a checkpoint needs of any host, besides mounts and files: what, and which.
pub fn needs_of_host(checkpoint: &Checkpoint) -> Vec<(&'static str, String)> {
    let machine = checkpoint.tasks.machine(true);
    let sockets = &checkpoint.sockets;
    let mut all = Vec::new();
    if let Some(number) = machine.tasks.architecture {
        all.push(("architecture", architecture(number)));
    }
    let listed = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(", ");
    let shown = |name: &String| Escaped(name.as_bytes()).to_string();
    let profiles = listed(&mut machine.tasks.profiles.iter().map(shown));
    if !profiles.is_empty() {
        let what = match machine.lsm {
            Lsm::AppArmor => "AppArmor profile",
            Lsm::SeLinux => "SELinux label",
            Lsm::None | Lsm::Other => "label",
        };
        all.push((what, profiles));
    }
    let plugins = listed(&mut machine.plugins.iter().map(shown));
    if !plugins.is_empty() {
        all.push(("CRIU plugin", plugins));
    }
    if machine.tcp_close {
        all.push(("CRIU option", "tcp-close".to_owned()));
    } else if sockets.connections > 0 {
        all.push(("CRIU option", "tcp-established or tcp-close".to_owned()));
    }
    if let Some(name) = &sockets.external {
        all.push(("Unix socket", name_of(name)));
    }
    let addresses = listed(&mut sockets.addresses.iter().map(ToString::to_string));
    if !addresses.is_empty() {
        all.push(("address", addresses));
    }
    let used = STATES
        .iter()
        .filter(|(bits, _)| machine.tasks.xstate & bits != 0);
    let features = listed(&mut used.map(|(_, name)| (*name).to_owned()));
    if !features.is_empty() {
        all.push(("processor with", features));
    }
    all
}

fn architecture(number: u32) -> String {
    let known = host::ARCHITECTURES
        .iter()
        .find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// CRIU compares the modules only for tasks that have a label, and sets it only if it can be set (CRIU criu/lsm.c,
/// `validate_lsm`).
fn of_lsm(machine: &Machine, add: &mut impl FnMut(FindingKind, String, String)) {
    let Some(profile) = machine.tasks.profiles.first() else {
        return;
    };
    let here = host::lsm();
    let shown = |profile: &str| Escaped(profile.as_bytes()).to_string();
    if machine.lsm != Lsm::None && machine.lsm != here {
        let criu = "mismatched lsm types and lsm profile specified".to_owned();
        add(FindingKind::OtherLsm, shown(profile), criu);
        return;
    }
    if here != Lsm::AppArmor {
        return;
    }
    for profile in &machine.tasks.profiles {
        // Those of a namespace are in the images, and stacks have more than one.
        let is_simple = !profile.contains(':') && !profile.contains("//");
        if is_simple && host::has_profile(profile) == Some(false) {
            let criu = "can't write lsm profile -2".to_owned();
            add(FindingKind::MissingLsmProfile, shown(profile), criu);
        }
    }
}

fn of_cgroups(
    machine: &Machine,
    runtime: Option<Runtime>,
    add: &mut impl FnMut(FindingKind, String, String),
) {
    if machine.controllers.is_empty()
        || host::criu_has_option(runtime, "manage-cgroups=ignore", false)
    {
        return;
    }
    let of_v2 = host::controllers_of_v2();
    if let Some(name) = machine.controllers.intersection(&of_v2).next() {
        let criu = "Can't mount controller dir".to_owned();
        add(FindingKind::CgroupController, name.clone(), criu);
    }
}

fn of_sockets(
    sockets: &Sockets,
    machine: &Machine,
    network: Network,
    runtime: Option<Runtime>,
    is_thorough: bool,
    add: &mut impl FnMut(FindingKind, String, String),
) {
    let has = |option| host::criu_has_option(runtime, option, !is_thorough);
    // Each takes a look at CRIU's configuration.
    let has_tcp = machine.tcp_close || sockets.connections > 0;
    let closes = has_tcp && has("tcp-close");
    let keeps = has_tcp && has("tcp-established");
    if machine.tcp_close && !closes {
        let criu = "Need to set the --tcp-close options.".to_owned();
        add(FindingKind::TcpClose, "tcp-close".to_owned(), criu);
    } else if sockets.connections > 0 && !keeps && !closes {
        let mut detail = sockets.connections.to_string();
        if let Some([(from, from_port), (to, to_port)]) = sockets.connection {
            detail = format!("{detail}, among them {from}:{from_port} to {to}:{to_port}");
        }
        let criu = "Connected TCP socket in image".to_owned();
        add(FindingKind::TcpConnection, detail, criu);
    }
    if let Some(name) = &sockets.external {
        // Whether somebody still listens there, only a connection can tell.
        add(
            FindingKind::ExternalSocket,
            name_of(name),
            "Can't connect".to_owned(),
        );
    }
    let mut needed = sockets.addresses.clone();
    if keeps && !closes {
        needed.extend(&sockets.connected_addresses);
    }
    let here = match network {
        _ if needed.is_empty() => return,
        // CRIU brings back the addresses of a network of the container's own.
        Network::Own => return,
        Network::Given => Addresses::Unknown,
        Network::Host => host::addresses(),
    };
    for address in needed {
        let is_here = match &here {
            Addresses::Any => true,
            Addresses::These(all) => all.contains(&address),
            Addresses::Unknown => false,
        };
        if !is_here {
            let criu = "Can't bind inet socket".to_owned();
            add(FindingKind::MissingAddress, address.to_string(), criu);
        }
    }
}

/// The name of a Unix socket. An abstract one begins with a NUL, which is written as `@` (unix(7), ss(8)).
fn name_of(name: &[u8]) -> String {
    if let Some(name) = name.strip_prefix(b"\0") {
        return format!("@{}", Escaped(name));
    }
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Escaped(name).to_string()
}

/// CRIU leaves out the state of features that the processor doesn't have (CRIU arch/x86/crtools.c, `restore_fpu`).
fn of_processor(xstate: u64, add: &mut impl FnMut(FindingKind, String, String)) {
    let used = STATES.iter().filter(|(bits, _)| xstate & bits != 0);
    let mut used = used.map(|(_, name)| *name).peekable();
    if used.peek().is_none() {
        return;
    }
    let Some(here) = host::cpu_features() else {
        return;
    };
    for feature in used.filter(|&feature| !here.contains(feature)) {
        add(
            FindingKind::MissingCpuFeature,
            feature.to_owned(),
            String::new(),
        );
    }
}
