// SPDX-License-Identifier: Apache-2.0
//! What this host is, as far as CRIU asks: its architecture, its Linux security module, its addresses, the options
//! in CRIU's configuration. Read when asked for, and only read; what can't be read is unknown.

mod addresses;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;

use crate::checkpoint::Lsm;
use crate::cli::Runtime;
use crate::node::criu;
use crate::{input, sys};
pub use addresses::{Addresses, addresses};

/// Maximum bytes of a file of the kernel's, or of CRIU's configuration.
const MAX_SIZE: usize = 4 << 20;
/// Where CRIU looks for plugins unless it is told otherwise (criu(8), `--libdir`).
const PLUGINS: &str = "/usr/lib/criu";

/// CRIU's number of the architecture (CRIU images/core.proto, `march`), and its name.
pub const ARCHITECTURES: [(u32, &str); 8] = [
    (1, "x86_64"),
    (2, "arm"),
    (3, "aarch64"),
    (4, "powerpc64"),
    (5, "s390x"),
    (6, "mips64"),
    (7, "loongarch64"),
    (8, "riscv64"),
];

/// CRIU's number of this host's architecture.
pub fn architecture() -> Option<u32> {
    let here = std::env::consts::ARCH;
    let found = ARCHITECTURES.iter().find(|(_, name)| *name == here);
    found.map(|&(number, _)| number)
}

/// The Linux security module that CRIU finds (CRIU criu/lsm.c, `kerndat_lsm`).
pub fn lsm() -> Lsm {
    if is_there("/sys/kernel/security/apparmor") {
        Lsm::AppArmor
    } else if is_there("/sys/fs/selinux/enforce") {
        Lsm::SeLinux
    } else {
        Lsm::None
    }
}

/// Whether an `AppArmor` profile is loaded, if that can be told.
pub fn has_profile(name: &str) -> Option<bool> {
    let loaded = read("/sys/kernel/security/apparmor/profiles")?;
    // Each with its mode: `docker-default (enforce)`.
    let mut names = loaded.lines().filter_map(|line| line.rsplit_once(" ("));
    Some(names.any(|(loaded, _)| loaded == name))
}

/// Whether CRIU finds a plugin, if that can be told: without the directory it doesn't ask, and a plugin may have a
/// file of another name.
pub fn has_plugin(name: &str) -> Option<bool> {
    let directory = sys::open_to_list(Path::new(PLUGINS)).ok()?;
    let (mut is_there, mut others) = (false, false);
    let listed = sys::list(directory.as_fd(), |file| {
        if let Some(stem) = file.strip_suffix(".so") {
            is_there |= stem == name;
            others |= !matches!(stem, "amdgpu_plugin" | "cuda_plugin");
        }
        ControlFlow::Continue(())
    });
    listed.ok()?;
    (is_there || !others).then_some(is_there)
}

/// The controllers that cgroup v2 has given to its groups: cgroup v1 can't have them.
pub fn controllers_of_v2() -> BTreeSet<String> {
    let given = read("/sys/fs/cgroup/cgroup.subtree_control").unwrap_or_default();
    given.split_whitespace().map(str::to_owned).collect()
}

/// The features of the processor, if this is Linux on x86 (proc_cpuinfo(5)).
pub fn cpu_features() -> Option<BTreeSet<String>> {
    let info = read("/proc/cpuinfo")?;
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    let (_, flags) = lines.find(|(key, _)| key.trim() == "flags")?;
    Some(flags.split_whitespace().map(str::to_owned).collect())
}

/// Whether CRIU's configuration has an option that the runtime sends too, which is as good as the runtime's (criu(8),
/// "CONFIGURATION FILES"): in the file that CRIU reads for this runtime. If the runtime is unknown, in each that it may
/// read, or in a restore, where a warning may be one too many, in any.
pub fn criu_has_option(runtime: Option<Runtime>, option: &str, in_restore: bool) -> bool {
    let has = |file: &str| read(file).map(|text| criu::has_option(text.as_bytes(), option));
    let runc = || has(criu::RUNC).unwrap_or(false);
    match runtime {
        Some(Runtime::Runc) => runc(),
        Some(Runtime::Crun) => has(criu::CRUN).unwrap_or_else(runc),
        None if in_restore => runc() || has(criu::CRUN).unwrap_or(false),
        None => runc() && has(criu::CRUN).unwrap_or(true),
    }
}

/// The same of an option that no runtime sends: then the files that CRIU reads for every caller count as well.
pub fn criu_is_told(runtime: Option<Runtime>, option: &str) -> bool {
    let has =
        |file: &&str| read(file).is_some_and(|text| criu::has_option(text.as_bytes(), option));
    [criu::DEFAULT, criu::ROOT_DEFAULT].iter().any(has) || criu_has_option(runtime, option, false)
}

fn is_there(path: &str) -> bool {
    sys::inode_of_root(Path::new(path)).is_ok()
}

fn read(path: &str) -> Option<String> {
    let bytes = input::read_file(Path::new(path), MAX_SIZE).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
