// SPDX-License-Identifier: Apache-2.0
//! Errors that CRIU logs and that are never why it fails.

use super::without_part;
use crate::explain::pattern::{Begin, find};

/// Logged in restores that succeed.
const HARMLESS: &[&str] = &[
    // criu/util.c: without CAP_SYS_RESOURCE.
    "rlimit: Can't setup RLIMIT_NOFILE for self: ",
    // criu/cgroup.c: the daemon's caller has ended, as in each restore that fails.
    "cg: cgroupd: recv req error: ",
    // criu/cr-check.c
    "cgroupns not supported. This is not fatal.",
];

/// Logged because of an error before.
const CONSEQUENCES: &[&str] = &[
    // criu/cr-restore.c
    "Restoring FAILED.",
    "{} exited, status=",
    "Failed to wait on helpers and zombies",
    "Child {} died too early",
    "Pre-resume script ret code ",
    // criu/cr-dump.c
    "Dumping FAILED.",
    // criu/util.c: a program that CRIU started, as a script does; the next error names it.
    "exited, status=",
    // criu/action-scripts.c
    "One of more action scripts failed",
    // criu/files.c, criu/mem.c
    "Unable to open fd={} id=",
    "Can't fixup VMA's fd",
    // criu/net.c, criu/namespaces.c
    "Unable to restore network links",
];

/// Whether a message of CRIU's means nothing.
pub fn is_harmless(message: &[u8]) -> bool {
    is_one_of(HARMLESS, message)
}

/// Whether a message of CRIU's only follows from another one.
pub fn is_consequence(message: &[u8]) -> bool {
    is_one_of(CONSEQUENCES, message)
}

fn is_one_of(patterns: &[&'static str], message: &[u8]) -> bool {
    let is_found = |message| {
        let mut all = patterns.iter();
        all.any(|pattern| find(pattern, message, Begin::Start).is_some())
    };
    is_found(message) || without_part(message).is_some_and(is_found)
}
