// SPDX-License-Identifier: Apache-2.0
//! Kernel file systems: those whose content the kernel provides, by name and by magic number.

/// Whether a file system type is a kernel file system, by its name.
pub fn is_kernel_fs(name: &str) -> bool {
    name == "devtmpfs" || KERNEL_FILE_SYSTEMS.iter().any(|known| known.1 == name)
}

/// The name of such a file system, by the number that statfs(2) has for it.
pub fn name_of(magic: u32) -> Option<&'static str> {
    let known = KERNEL_FILE_SYSTEMS.iter().find(|known| known.0 == magic);
    known.map(|known| known.1)
}

/// File systems whose content the kernel makes up: there, creating a directory creates a cgroup, a
/// gadget or a queue, or fails. Numbers: linux/magic.h, and each file system's own source.
const KERNEL_FILE_SYSTEMS: &[(u32, &str)] = &[
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x1980_0202, "mqueue"),
    (0x1cd1, "devpts"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0x6265_6570, "configfs"),
    (0xcafe_4a11, "bpf"),
    (0xde5e_81e4, "efivarfs"),
    (0x6165_676c, "pstore"),
    (0x6573_5543, "fusectl"),
    (0x4249_4e4d, "binfmt_misc"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4341_5d53, "smackfs"),
    (0x0765_5821, "resctrl"),
    (0x6e73_6673, "nsfs"),
    (0x0187, "autofs"),
];
