// SPDX-License-Identifier: Apache-2.0
//! Kernel file systems, whose content the kernel provides: their names and magic numbers.

/// Whether a file system type is a kernel file system.
pub fn is_kernel_fs(name: &str) -> bool {
    name == "devtmpfs" || KERNEL_FILE_SYSTEMS.iter().any(|known| known.1 == name)
}

/// The name of the kernel file system with this magic number, from statfs(2).
pub fn name_of(magic: u32) -> Option<&'static str> {
    let known = KERNEL_FILE_SYSTEMS.iter().find(|known| known.0 == magic);
    known.map(|known| known.1)
}

/// Kernel file systems: creating a directory there creates a cgroup, a gadget or a queue, or fails. Magic
/// numbers from linux/magic.h and the source of each file system.
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
