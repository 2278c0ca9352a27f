// SPDX-License-Identifier: Apache-2.0
//! Errors with everything that is no mount and no open file.

use super::{Known, Meaning, known, vague};
use crate::diagnosis::FindingKind;

const TCP_CONNECTION: Meaning = Meaning {
    code: FindingKind::TcpConnection.name(),
    words: "the container had an open TCP connection",
    remedy: "restore with --tcp-established (the peer must still have the connection, and the address must be the \
             same), or with tcp-close in CRIU's configuration, which closes it; the same options are needed for the \
             checkpoint",
};
const ADDRESS_NOT_HERE: Meaning = Meaning {
    code: FindingKind::MissingAddress.name(),
    words: "a socket of the container was bound to an IP address that doesn't exist here",
    remedy: "give the restored container the address that it had, or checkpoint while it listens on 0.0.0.0 or [::]; \
             with tcp-close in CRIU's configuration connections need no address",
};
const PORT_IN_USE: Meaning = Meaning {
    code: "port-in-use",
    words: "a port that the container listens on is in use",
    remedy: "stop what uses it (`ss -tlnp`), perhaps the container that was checkpointed",
};
const NETWORK_LOCK: Meaning = Meaning {
    code: "network-lock",
    words: "CRIU can't lock the network with iptables or nftables while it restores",
    remedy: "install iptables where CRIU runs, or put `network-lock nftables` into CRIU's configuration; without \
             connections to keep, `network-lock skip`",
};
const NETWORK_TOOLS: Meaning = Meaning {
    code: "network-tools",
    words: "a program that CRIU restores the network with is missing or failed",
    remedy: "install iproute2 and iptables where CRIU runs; CRIU's log has their output before the error",
};
const EXTERNAL_NAMESPACE: Meaning = Meaning {
    code: "external-namespace",
    words: "a namespace that the container shared with others was not handed to CRIU",
    remedy: "restore with the namespaces that the container had at its checkpoint, into the same kind of pod",
};
const OTHER_LSM: Meaning = Meaning {
    code: FindingKind::OtherLsm.name(),
    words: "the container has AppArmor profiles or SELinux labels, and this host has another security module",
    remedy: "restore on a host with the same security module",
};
const MISSING_LSM_PROFILE: Meaning = Meaning {
    code: FindingKind::MissingLsmProfile.name(),
    words: "the AppArmor profile or SELinux label of the container can't be set here",
    remedy: "load the container's AppArmor profile first (`aa-status` lists those that are loaded), or give the \
             engine another one for the restore",
};
const TCP_CLOSE: Meaning = Meaning {
    code: FindingKind::TcpClose.name(),
    words: "the checkpoint was made with the option tcp-close, and CRIU needs it again",
    remedy: "restore with --tcp-close, or with tcp-close in CRIU's configuration",
};
const OTHER_ARCHITECTURE: Meaning = Meaning {
    code: FindingKind::OtherArchitecture.name(),
    words: "the checkpoint was made on another architecture",
    remedy: "restore on a host of that architecture (`premount plan --checkpoint` names it)",
};
const CGROUP_CONTROLLER: Meaning = Meaning {
    code: FindingKind::CgroupController.name(),
    words: "the container was in a controller of cgroup v1 that this host doesn't have there",
    remedy: "put `manage-cgroups=ignore` into CRIU's configuration (crun: --manage-cgroups-mode ignore), or restore on \
             a host with cgroup v1",
};
const MISSING_PLUGIN: Meaning = Meaning {
    code: FindingKind::MissingPlugin.name(),
    words: "the checkpoint was made with a plugin of CRIU's that can't be loaded here",
    remedy: "install the plugin for this CRIU (for GPUs: criu-amdgpu-plugin or criu-cuda-plugin)",
};
const TERMINAL: Meaning = Meaning {
    code: "terminal",
    words: "the container uses a terminal, or a session, from outside of it",
    remedy: "checkpoint and restore with --shell-job, or start the container detached, without a terminal of its \
             caller's",
};
const EXTERNAL_SOCKET: Meaning = Meaning {
    code: FindingKind::ExternalSocket.name(),
    words: "the container is connected by a Unix socket to a process outside of it",
    remedy: "checkpoint and restore with --ext-unix-sk, if the program can do without the connection, or have it \
             close the connection before the checkpoint",
};
const CGROUP: Meaning = Meaning {
    code: "cgroup",
    words: "CRIU can't restore the container's cgroup",
    remedy: "put `manage-cgroups=ignore` into CRIU's configuration (crun: --manage-cgroups-mode ignore), so that the \
             runtime's own cgroup is used; check that the checkpoint's host has the same cgroup version",
};
const IMAGE_VERSION: Meaning = Meaning {
    code: FindingKind::ImageVersion.name(),
    words: "the checkpoint's images have a format that this CRIU doesn't know",
    remedy: "restore with the CRIU that made the checkpoint, or with a later one",
};
pub const MISSING_IMAGE: Meaning = Meaning {
    code: "missing-image",
    words: "an image of the checkpoint is missing or incomplete",
    remedy: "copy the whole checkpoint again; where it was made, dump.log must end with `Dumping finished \
             successfully`",
};
const BAD_IMAGE: Meaning = Meaning {
    code: "bad-image",
    words: "an image of the checkpoint can't be read",
    remedy: "copy the checkpoint again, and restore with the CRIU that made it, or with a later one",
};
const PROCESSOR: Meaning = Meaning {
    code: "processor",
    words: "the processor here lacks something that the container may use",
    remedy: "restore on a machine with the same processor, or with one that has all its features (`criu cpuinfo \
             check`); for virtual machines, give all of them the same processor model. If you know that the program \
             doesn't use them, put `cpu-cap none` into CRIU's configuration",
};
const KERNEL: Meaning = Meaning {
    code: "kernel",
    words: "this CRIU doesn't work with this kernel",
    remedy: "upgrade CRIU: version 3.17 and earlier can't read the vDSO of current kernels. `criu check` says what \
             the kernel lacks",
};
const PID_IN_USE: Meaning = Meaning {
    code: "pid-in-use",
    words: "a process ID that the container had is in use here",
    remedy: "restore into a PID namespace of its own; if the container shares one (with its pod or with the host), \
             stop the process that has the ID, perhaps the container that was checkpointed",
};
const NO_PRIVILEGE: Meaning = Meaning {
    code: "no-privilege",
    words: "CRIU lacks the privileges to restore",
    remedy: "run it as root, with CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, and where clone3(2) is not forbidden by \
             seccomp; a rootless engine can't restore",
};
pub const ACTION_SCRIPT: Meaning = Meaning {
    code: "action-script",
    words: "an action script of CRIU's failed, which ends the restore",
    remedy: "the script's own lines are above the error. If it is premount, they say what it could not create; if the \
             script is gone, remove its action-script line from CRIU's configuration",
};
const RUNTIME_HOOK: Meaning = Meaning {
    code: "runtime-hook",
    words: "the container runtime ended the restore from within: one of its hooks failed",
    remedy: "the runtime's own error, not CRIU's, has the reason",
};
const TASK_KILLED: Meaning = Meaning {
    code: "task-killed",
    words: "a task of the container was killed while it was restored",
    remedy: "the kernel's log (dmesg) has the reason: too little memory, or a signal 11 on a processor or with a \
             kernel that CRIU doesn't fit; upgrade CRIU, and restore on the same kind of machine",
};

pub const KNOWN: &[Known] = &[
    // criu/sk-inet.c
    known("inet: Connected TCP socket", &TCP_CONNECTION),
    known("inet: In-flight connection (l) for ", &TCP_CONNECTION),
    known(
        "inet: Can't bind inet socket (id {}): Cannot assign requested address",
        &ADDRESS_NOT_HERE,
    ),
    known(
        "inet: Can't bind inet socket (id {}): Address already in use",
        &PORT_IN_USE,
    ),
    known(
        "inet: Can't connect inet socket back: {error}",
        &ADDRESS_NOT_HERE,
    ),
    // criu/net.c, criu/util.c; only later versions begin them with "net: ".
    known("Locking network failed", &NETWORK_LOCK),
    known(
        "execvp(\"iptables-restore\", ...) failed: {error}",
        &NETWORK_LOCK,
    ),
    known(
        "execvp(\"ip6tables-restore\", ...) failed: {error}",
        &NETWORK_LOCK,
    ),
    known("Can't restore iptables dump", &NETWORK_TOOLS),
    known("execvp(\"ip\", ...) failed: {error}", &NETWORK_TOOLS),
    known("IP tool failed on ", &NETWORK_TOOLS),
    known("Unable to find an external netns: ", &EXTERNAL_NAMESPACE),
    // criu/cr-restore.c
    known("Unable to find an external pidns: ", &EXTERNAL_NAMESPACE),
    known("Core march mismatch ", &OTHER_ARCHITECTURE),
    known("Can't fork for {}: File exists", &PID_IN_USE),
    known("Can't fork for {}: Operation not permitted", &NO_PRIVILEGE),
    known("Pid {} do not match expected {}", &PID_IN_USE),
    known("Setting PID failed", &NO_PRIVILEGE),
    known(
        "This process tree can only be restored in a new pid namespace.",
        &PID_IN_USE,
    ),
    vague("Aborting restore due to ", &RUNTIME_HOOK),
    vague("{} killed by signal {}", &TASK_KILLED),
    // criu/cr-service.c
    known("RPC client reported script error", &RUNTIME_HOOK),
    // criu/action-scripts.c
    known("Script {} exited with {}", &ACTION_SCRIPT),
    // criu/lsm.c, criu/pie/restorer.c
    known("mismatched lsm types and lsm profile specified", &OTHER_LSM),
    known(
        "apparmor LSM specified but apparmor not supported by kernel",
        &OTHER_LSM,
    ),
    known(
        "selinux LSM specified but selinux not supported by kernel",
        &OTHER_LSM,
    ),
    known("can't write lsm profile ", &MISSING_LSM_PROFILE),
    // criu/image.c, criu/plugin.c
    known("Missing required plugin: ", &MISSING_PLUGIN),
    known("Can't load plugin ", &MISSING_PLUGIN),
    // criu/tty.c, criu/pstree.c
    known("tty: Found dangling tty with sid ", &TERMINAL),
    known("tty: Don't have tty to inherit session from", &TERMINAL),
    known("tty: Unable to open {} with specified index ", &TERMINAL),
    known("The root process {} is not a session leader", &TERMINAL),
    known("Current sid {} intersects with ", &TERMINAL),
    known("Current gid {} intersects with ", &TERMINAL),
    // criu/sk-unix.c
    known("unix: External socket is used. ", &EXTERNAL_SOCKET),
    known("unix: External socket found in image. ", &EXTERNAL_SOCKET),
    // criu/cgroup.c
    known("cg: \tCan't mount controller dir ", &CGROUP_CONTROLLER),
    known("cg: Can't make cgroup dir ", &CGROUP),
    known("cg: Failed accessing cgroup dir ", &CGROUP),
    known("cg: Cgroup dir {} doesn't exist", &CGROUP),
    known("cg: Can't move into ", &CGROUP),
    known("cg: Failed writing {} to ", &CGROUP),
    known("cg: cgroupd: Can't move thread ", &CGROUP),
    // criu/image.c, criu/protobuf.c
    known("Need to set the --tcp-close options.", &TCP_CLOSE),
    known("Not supported images version ", &IMAGE_VERSION),
    known("Too old image, no longer supported", &IMAGE_VERSION),
    known("Unexpected EOF on {}", &MISSING_IMAGE),
    known("Img trimmed ", &MISSING_IMAGE),
    known("Magic doesn't match for ", &BAD_IMAGE),
    known("Head magic doesn't match for ", &BAD_IMAGE),
    // criu/arch/x86/cpu.c
    known("cpu: CPU capabilities do not match run time", &PROCESSOR),
    known(
        "cpu: CPU instruction capabilities do not match run time",
        &PROCESSOR,
    ),
    known("cpu: FPU feature required by image ", &PROCESSOR),
    known("cpu: No x86 related cpuinfo in image", &PROCESSOR),
    // criu/vdso.c, criu/kerndat.c
    known("vdso: Unexpected rt vDSO area bounds", &KERNEL),
    known("vdso: Can't find rt vDSO", &KERNEL),
    known(
        "Kernel reports more capabilities than this CRIU supports",
        &KERNEL,
    ),
    vague("kerndat_{} failed when initializing kerndat", &KERNEL),
    // criu/util.c
    known("You need to be root to run this command", &NO_PRIVILEGE),
];
