// SPDX-License-Identifier: Apache-2.0
//! Each error that `premount explain` knows, by a line as it is logged. Lines of CRIU's are those of 4.1.1, unless
//! they say otherwise.

use std::collections::BTreeSet;

use premount::internals::{known_by, known_patterns};
use serde_json::{Value, json};

use super::{LOG, explain};

/// Lines, each with its code, and the places that it names in the container and on the host.
const LINES: &[(&str, &str, Option<&str>, Option<&str>)] = &[
    // Mounts
    (
        "1: Error (criu/mount-v2.c:628): mnt-v2: Can't stat mountpoint /tmp/.criu.mntns.kTYoCR/mnt-0000000062/b/c: No such file or directory",
        "missing-mountpoint",
        Some("/data/b/c"),
        Some("/w/volume/b/c"),
    ),
    (
        "1: Error (criu/mount-v2.c:628): mnt-v2: Can't stat mountpoint /tmp/.criu.mntns.kTYoCR/mnt-0000000062/b/c: Not a directory",
        "wrong-kind",
        Some("/data/b/c"),
        Some("/w/volume/b/c"),
    ),
    (
        "1: Error (criu/mount-v2.c:628): mnt-v2: Can't stat mountpoint /tmp/.criu.mntns.kTYoCR/mnt-0000000062/b/c: Permission denied",
        "unreachable",
        Some("/data/b/c"),
        Some("/w/volume/b/c"),
    ),
    (
        "1: Error (criu/mount-v2.c:324): mnt-v2: Failed to move_mount from /w/nested to /tmp/.criu.mntns.kTYoCR/mnt-0000000077: Invalid argument",
        "wrong-kind",
        Some("/data/nested"),
        Some("/w/volume/nested"),
    ),
    (
        "1: Error (criu/mount-v2.c:324): mnt-v2: Failed to move_mount from /w/nested to /tmp/.criu.mntns.kTYoCR/mnt-0000000077: Not a directory",
        "wrong-kind",
        Some("/data/nested"),
        Some("/w/volume/nested"),
    ),
    (
        "1: Error (criu/mount-v2.c:324): mnt-v2: Failed to move_mount from /w/nested to /tmp/.criu.mntns.kTYoCR/mnt-0000000077: Operation not permitted",
        "mount-failed",
        Some("/data/nested"),
        Some("/w/volume/nested"),
    ),
    (
        "1: Error (criu/mount-v2.c:319): mnt-v2: Failed to open_tree /w/nested: No such file or directory",
        "missing-source",
        Some("/data/nested"),
        Some("/w/nested"),
    ),
    // A bind that the workload made.
    (
        "1: Error (criu/mount-v2.c:319): mnt-v2: Failed to open_tree /tmp/.criu.mntns.kTYoCR/mnt-0000000062/own: No such file or directory",
        "missing-source",
        Some("/data/own"),
        Some("/w/volume/own"),
    ),
    (
        "1: Error (criu/mount-v2.c:265): mnt-v2: Can't mount at /tmp/.criu.mntns.kTYoCR/mnt-0000000063: Not a directory",
        "wrong-kind",
        Some("/data/tmpfs"),
        Some("/w/volume/tmpfs"),
    ),
    (
        "1: Error (criu/mount-v2.c:265): mnt-v2: Can't mount at /tmp/.criu.mntns.kTYoCR/mnt-0000000063: Operation not permitted",
        "mount-failed",
        Some("/data/tmpfs"),
        Some("/w/volume/tmpfs"),
    ),
    (
        "1: Error (criu/mount-v2.c:730): mnt-v2: The --root option is required to restore a mount namespace",
        "no-criu-root",
        None,
        None,
    ),
    (
        "1: Error (criu/mount.c:2232): mnt: Unable to mount tmpfs /tmp/.criu.mntns.kTYoCR/12-0000000000/data/x y (id=63): No such file or directory",
        "missing-mountpoint",
        Some("/data/x y"),
        Some("/w/volume/x y"),
    ),
    (
        "1: Error (criu/mount.c:2232): mnt: Unable to mount tmpfs /tmp/.criu.mntns.kTYoCR/mnt-0000000063 (id=63): Not a directory",
        "wrong-kind",
        Some("/data/tmpfs"),
        Some("/w/volume/tmpfs"),
    ),
    (
        "1: Error (criu/mount-v2.c:464): mnt-v2: Unable to mount /w/criu-root /tmp/.criu.mntns.kTYoCR/mnt-0000000059 (id=59): Operation not permitted",
        "mount-failed",
        Some("/"),
        None,
    ),
    (
        "1: Error (criu/mount.c:2297): mnt: Can't mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/tmpfs: No such file or directory",
        "missing-mountpoint",
        Some("/data/tmpfs"),
        Some("/w/volume/tmpfs"),
    ),
    (
        "1: Error (criu/mount.c:2297): mnt: Can't mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/tmpfs: Not a directory",
        "wrong-kind",
        Some("/data/tmpfs"),
        Some("/w/volume/tmpfs"),
    ),
    (
        "1: Error (criu/mount.c:2297): mnt: Can't mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/tmpfs: Invalid argument",
        "mount-failed",
        Some("/data/tmpfs"),
        Some("/w/volume/tmpfs"),
    ),
    (
        "1: Error (criu/mount.c:2507): mnt: Can't bind-mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/nested: No such file or directory",
        "missing-mountpoint",
        Some("/data/nested"),
        Some("/w/volume/nested"),
    ),
    (
        "1: Error (criu/mount.c:2507): mnt: Can't bind-mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/nested: Not a directory",
        "wrong-kind",
        Some("/data/nested"),
        Some("/w/volume/nested"),
    ),
    (
        "1: Error (criu/mount.c:2507): mnt: Can't bind-mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/nested: Operation not permitted",
        "mount-failed",
        Some("/data/nested"),
        Some("/w/volume/nested"),
    ),
    (
        "Error (criu/mount.c:3130): mnt: No mapping for 77:/data/nested mountpoint",
        "no-mapping",
        Some("/data/nested"),
        Some("/w/volume/nested"),
    ),
    (
        "Error (criu/mount.c:3109): mnt: Mount 77:/data/nested is autodetected external mount. Try \"--ext-mount-map auto\" to allow them.",
        "no-mapping",
        Some("/data/nested"),
        Some("/w/volume/nested"),
    ),
    (
        "Error (criu/mount.c:753): mnt: 85:./run/x doesn't have a proper root mount",
        "no-root-mount",
        Some("/run/x"),
        None,
    ),
    (
        "Error (criu/mount.c:381): mnt: No parent found for mountpoint 85 (@./)",
        "no-parent-mount",
        None,
        None,
    ),
    (
        "Error (criu/mount.c:724): mnt: FS mnt ./data/f dev 0x33 root / unsupported id 85",
        "unsupported-mount",
        Some("/data/f"),
        Some("/w/volume/f"),
    ),
    (
        "1: Error (criu/mount.c:2944): mnt: Can't create a temporary directory: Read-only file system",
        "no-temporary-directory",
        None,
        None,
    ),
    (
        "Error (criu/mount.c:3065): mnt: Unable to create a temporary directory: No such file or directory",
        "no-temporary-directory",
        None,
        None,
    ),
    (
        "1: Error (criu/mount.c:2742): mnt: The --root option is required to restore a mount namespace",
        "no-criu-root",
        None,
        None,
    ),
    // Open files
    (
        "34: Error (criu/files-reg.c:2353): Can't open file data/x on restore: No such file or directory",
        "missing-open-file",
        Some("/data/x"),
        Some("/w/volume/x"),
    ),
    (
        "34: Error (criu/files-reg.c:2353): Can't open file data/x on restore: Permission denied",
        "open-file-not-created",
        Some("/data/x"),
        Some("/w/volume/x"),
    ),
    (
        "34: Error (criu/files-reg.c:2175): File data/x has bad size 0 (expect 6)",
        "bad-size",
        Some("/data/x"),
        Some("/w/volume/x"),
    ),
    (
        "34: Error (criu/files-reg.c:2294): File data/x has bad mode 040755 (expect 042755)",
        "bad-mode",
        Some("/data/x"),
        Some("/w/volume/x"),
    ),
    (
        "34: Error (criu/files-reg.c:2153): File bin/x has bad build-ID",
        "bad-build-id",
        Some("/bin/x"),
        None,
    ),
    (
        "34: Error (criu/files-reg.c:2258): Can't link tmp/x.ghost -> data/x: No such file or directory",
        "deleted-file",
        Some("/data/x"),
        Some("/w/volume/x"),
    ),
    (
        "34: Error (criu/files-reg.c:467): Can't create ghost regfile: No space left on device",
        "deleted-file",
        None,
        None,
    ),
    (
        "34: Error (criu/files-reg.c:467): Can't create ghost symlink: Permission denied",
        "deleted-file",
        None,
        None,
    ),
    (
        "34: Error (criu/files-reg.c:467): Can't create node for ghost dev: Operation not permitted",
        "deleted-file",
        None,
        None,
    ),
    (
        "34: Error (criu/files-reg.c:467): Can't make ghost dir: Read-only file system",
        "deleted-file",
        None,
        None,
    ),
    (
        "Error (criu/files-reg.c:1031): Can't dump ghost file /data/x of 2097152 size, increase limit",
        "deleted-file-too-large",
        Some("/data/x"),
        Some("/w/volume/x"),
    ),
    (
        "Error (criu/files-reg.c:1122): Can't create link remap for /data/x. Use link-remap option.",
        "link-remap",
        Some("/data/x"),
        Some("/w/volume/x"),
    ),
    (
        "34: Error (criu/files-reg.c:2267): Can't open file dev/x: No such file or directory",
        "missing-open-file",
        Some("/dev/x"),
        None,
    ),
    (
        "34: Error (criu/util.c:463): Ghost file size mismatch 1/2",
        "deleted-file",
        None,
        None,
    ),
    (
        "34: Error (criu/fifo.c:98): Can't open fake fifo 0x3 [data/f]: No such file or directory",
        "missing-open-file",
        Some("/data/f"),
        Some("/w/volume/f"),
    ),
    (
        "34: Error (criu/fifo.c:98): Can't open fake fifo 0x3 [data/f]: Permission denied",
        "open-file-not-created",
        Some("/data/f"),
        Some("/w/volume/f"),
    ),
    (
        "34: Error (criu/files.c:1400): Can't open cwd",
        "missing-open-file",
        None,
        None,
    ),
    (
        "34: Error (criu/files.c:1394): Can't open root",
        "missing-open-file",
        None,
        None,
    ),
    (
        "34: Error (criu/sk-unix.c:1651): unix: Can't bind id 0x7 ino 4242 addr /data/run/socket: No such file or directory",
        "missing-open-file",
        Some("/data/run/socket"),
        Some("/w/volume/run/socket"),
    ),
    (
        "34: Error (criu/sk-unix.c:1651): unix: Can't bind id 0x7 ino 4242 addr /data/socket: Address already in use",
        "address-in-use",
        Some("/data/socket"),
        Some("/w/volume/socket"),
    ),
    (
        "34: Error (criu/sk-unix.c:1651): unix: Can't bind id 0x7 ino 4242 addr /data/socket: Permission denied",
        "open-file-not-created",
        Some("/data/socket"),
        Some("/w/volume/socket"),
    ),
    (
        "34: Error (criu/fsnotify.c:510): fsnotify: Unable to open /data/x: No such file or directory",
        "missing-open-file",
        Some("/data/x"),
        Some("/w/volume/x"),
    ),
    (
        "34: Error (criu/fsnotify.c:510): fsnotify: Unable to open /data/x: Permission denied",
        "open-file-not-created",
        Some("/data/x"),
        Some("/w/volume/x"),
    ),
    // Network
    (
        "34: Error (criu/sk-inet.c:903): inet: Connected TCP socket in image",
        "tcp-connection",
        None,
        None,
    ),
    (
        "Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.",
        "tcp-connection",
        None,
        None,
    ),
    (
        "Error (criu/sk-inet.c:176): inet: In-flight connection (l) for 1f",
        "tcp-connection",
        None,
        None,
    ),
    (
        "34: Error (criu/sk-inet.c:1049): inet: Can't bind inet socket (id 19): Cannot assign requested address",
        "address-not-here",
        None,
        None,
    ),
    (
        "34: Error (criu/sk-inet.c:1049): inet: Can't bind inet socket (id 19): Address already in use",
        "port-in-use",
        None,
        None,
    ),
    (
        "34: Error (criu/sk-inet.c:1075): inet: Can't connect inet socket back: Cannot assign requested address",
        "address-not-here",
        None,
        None,
    ),
    (
        "Error (criu/net.c:3282): net: Locking network failed: iptables-restore returned -1. This may be connected to disabled CONFIG_NETFILTER_XT_MARK kernel build config option.",
        "network-lock",
        None,
        None,
    ),
    (
        "Error (criu/util.c:641): execvp(\"iptables-restore\", ...) failed: No such file or directory",
        "network-lock",
        None,
        None,
    ),
    (
        "Error (criu/util.c:641): execvp(\"ip6tables-restore\", ...) failed: No such file or directory",
        "network-lock",
        None,
        None,
    ),
    // CRIU 3.17
    (
        "1: Error (criu/net.c:2494): Can't restore iptables dump - no legacy version present",
        "network-tools",
        None,
        None,
    ),
    (
        "1: Error (criu/util.c:641): execvp(\"ip\", ...) failed: No such file or directory",
        "network-tools",
        None,
        None,
    ),
    (
        "1: Error (criu/net.c:1969): net: IP tool failed on addr restore (null) (null)",
        "network-tools",
        None,
        None,
    ),
    (
        "1: Error (criu/net.c:2792): net: Unable to find an external netns: extRootNetNS",
        "external-namespace",
        None,
        None,
    ),
    // Processes
    (
        "Error (criu/cr-restore.c:1157): Unable to find an external pidns: extRootPidNS",
        "external-namespace",
        None,
        None,
    ),
    (
        "Error (criu/cr-restore.c:854): Core march mismatch 4",
        "processor",
        None,
        None,
    ),
    (
        "Error (criu/cr-restore.c:1230): Can't fork for 41: File exists",
        "pid-in-use",
        None,
        None,
    ),
    (
        "Error (criu/cr-restore.c:1230): Can't fork for 41: Operation not permitted",
        "no-privilege",
        None,
        None,
    ),
    (
        "41: Error (criu/cr-restore.c:1539): Pid 42 do not match expected 41",
        "pid-in-use",
        None,
        None,
    ),
    (
        "Error (criu/cr-restore.c:1194): Setting PID failed",
        "no-privilege",
        None,
        None,
    ),
    (
        "Error (criu/cr-restore.c:2034): This process tree can only be restored in a new pid namespace.",
        "pid-in-use",
        None,
        None,
    ),
    (
        "Error (criu/cr-restore.c:2005): Aborting restore due to pre-restore script ret code -1",
        "runtime-hook",
        None,
        None,
    ),
    (
        "Error (criu/cr-restore.c:1262): 41 killed by signal 11: Segmentation fault",
        "task-killed",
        None,
        None,
    ),
    (
        "Error (criu/cr-service.c:235): RPC client reported script error",
        "runtime-hook",
        None,
        None,
    ),
    (
        "Error (criu/action-scripts.c:94): Script /w/script exited with -1",
        "action-script",
        None,
        None,
    ),
    (
        "Error (criu/util.c:809): You need to be root to run this command",
        "no-privilege",
        None,
        None,
    ),
    // Security modules, plugins
    (
        "Error (criu/lsm.c:358): mismatched lsm types and lsm profile specified",
        "lsm-profile",
        None,
        None,
    ),
    (
        "Error (criu/lsm.c:404): apparmor LSM specified but apparmor not supported by kernel",
        "lsm-profile",
        None,
        None,
    ),
    (
        "Error (criu/lsm.c:411): selinux LSM specified but selinux not supported by kernel",
        "lsm-profile",
        None,
        None,
    ),
    (
        "pie: 41: Error (criu/pie/restorer.c:195): can't write lsm profile -2",
        "lsm-profile",
        None,
        None,
    ),
    (
        "Error (criu/image.c:193): Missing required plugin: cuda_plugin",
        "missing-plugin",
        None,
        None,
    ),
    (
        "Error (criu/plugin.c:127): Can't load plugin /usr/lib/criu/cuda_plugin.so",
        "missing-plugin",
        None,
        None,
    ),
    // Terminals, external sockets
    (
        "Error (criu/tty.c:1830): tty: Found dangling tty with sid 16693 pgid 16711 (pts) on peer fd 0.",
        "terminal",
        None,
        None,
    ),
    (
        "Error (criu/tty.c:1010): tty: Don't have tty to inherit session from, aborting",
        "terminal",
        None,
        None,
    ),
    (
        "34: Error (criu/tty.c:625): tty: Unable to open dev/ptmx with specified index 0",
        "terminal",
        None,
        None,
    ),
    (
        "Error (criu/pstree.c:300): The root process 41 is not a session leader. Consider using --shell-job option",
        "terminal",
        None,
        None,
    ),
    (
        "Error (criu/pstree.c:382): Current sid 41 intersects with pid (41) in images",
        "terminal",
        None,
        None,
    ),
    (
        "Error (criu/pstree.c:414): Current gid 41 intersects with pid (41) in images",
        "terminal",
        None,
        None,
    ),
    (
        "Error (criu/sk-unix.c:874): unix: External socket is used. Consider using --ext-unix-sk option.",
        "external-socket",
        None,
        None,
    ),
    (
        "34: Error (criu/sk-unix.c:1912): unix: External socket found in image. Consider using the --ext-unix-sk option to allow restoring it.",
        "external-socket",
        None,
        None,
    ),
    // Cgroups
    (
        "Error (criu/cgroup.c:1805): cg: Can't make cgroup dir unified/c1: Permission denied",
        "cgroup",
        None,
        None,
    ),
    (
        "Error (criu/cgroup.c:1795): cg: Failed accessing cgroup dir unified/c1: Permission denied",
        "cgroup",
        None,
        None,
    ),
    (
        "Error (criu/cgroup.c:1800): cg: Cgroup dir unified/c1 doesn't exist",
        "cgroup",
        None,
        None,
    ),
    (
        "34: Error (criu/cgroup.c:1249): cg: Can't move into unified/c1/tasks (-1/-1): No such file or directory",
        "cgroup",
        None,
        None,
    ),
    (
        "Error (criu/cgroup.c:1472): cg: Failed writing 0 to unified/c1/cpu.max: Invalid argument",
        "cgroup",
        None,
        None,
    ),
    (
        "Error (criu/cgroup.c:2048): cg: cgroupd: Can't move thread 41 into unified/c1",
        "cgroup",
        None,
        None,
    ),
    // Images
    (
        "Error (criu/image.c:89): Not supported images version 2",
        "image-version",
        None,
        None,
    ),
    (
        "Error (criu/image.c:52): Too old image, no longer supported",
        "image-version",
        None,
        None,
    ),
    (
        "Error (criu/protobuf.c:72): Unexpected EOF on core-1.img",
        "missing-image",
        None,
        None,
    ),
    (
        "Error (criu/image.c:866): Img trimmed 1/2",
        "missing-image",
        None,
        None,
    ),
    (
        "Error (criu/image.c:558): Magic doesn't match for core-1.img",
        "bad-image",
        None,
        None,
    ),
    (
        "Error (criu/image.c:549): Head magic doesn't match for core-1.img",
        "bad-image",
        None,
        None,
    ),
    // Processor, kernel
    (
        "Error (criu/arch/x86/cpu.c:297): cpu: CPU capabilities do not match run time",
        "processor",
        None,
        None,
    ),
    (
        "Error (criu/arch/x86/cpu.c:223): cpu: CPU instruction capabilities do not match run time",
        "processor",
        None,
        None,
    ),
    (
        "Error (criu/arch/x86/cpu.c:247): cpu: FPU feature required by image is not supported on host.",
        "processor",
        None,
        None,
    ),
    (
        "Error (criu/arch/x86/cpu.c:414): cpu: No x86 related cpuinfo in image, corruption (n_x86_entry = 0)",
        "processor",
        None,
        None,
    ),
    (
        "Error (criu/vdso.c:395): vdso: Unexpected rt vDSO area bounds",
        "kernel",
        None,
        None,
    ),
    (
        "Error (criu/vdso.c:400): vdso: Can't find rt vDSO",
        "kernel",
        None,
        None,
    ),
    (
        "Error (criu/kerndat.c:514): Kernel reports more capabilities than this CRIU supports: 42 > 41",
        "kernel",
        None,
        None,
    ),
    (
        "Error (criu/kerndat.c:1906): kerndat_vdso_fill_symtable failed when initializing kerndat.",
        "kernel",
        None,
        None,
    ),
];

/// Lines of runtimes and engines; docs/limits.md has them.
const OTHERS: &[(&str, &str, Option<&str>)] = &[
    (
        "Error: no secret with name or id \"s1\": no such secret",
        "missing-secret",
        None,
    ),
    (
        "crun: stat `/w/containers/1/userdata/secrets/s1`: No such file or directory",
        "missing-secret",
        None,
    ),
    (
        "runc: stat /w/containers/1/userdata/secrets/s1: no such file or directory",
        "missing-secret",
        None,
    ),
    (
        "runc: create criu restore mountpoint for /run/secrets/s1 mount: stat /w/s1: no such file or directory",
        "missing-secret",
        None,
    ),
    (
        "Error: failed to open volume file /w/v.tar: open /w/v.tar: no such file or directory",
        "missing-volume",
        None,
    ),
    (
        "Error: volume with name v already exists. Use --ignore-volumes to not restore content of volumes",
        "missing-volume",
        None,
    ),
    (
        "error opening CRIU work directory `/w/criu-work`: No such file or directory",
        "runtime-of-shim",
        None,
    ),
    (
        "ctr: OCI runtime restore failed: /usr/bin/crun did not terminate successfully: exit status 64: unknown",
        "runtime-of-shim",
        None,
    ),
    (
        "runc: possibly malicious path detected -- refusing to operate on /w/rootfs",
        "leftover-mount",
        None,
    ),
    (
        "runc: error running createRuntime hook #0: fork/exec /usr/libexec/oci/hooks.d/premount: no such file or directory",
        "missing-hook",
        Some("/usr/libexec/oci/hooks.d/premount"),
    ),
    (
        "runc: mount src=/w/nested, dst=/a/b, dstFd=/proc/thread-self/fd/8, flags=MS_BIND|MS_REC: no such file or directory",
        "missing-source",
        Some("/w/nested"),
    ),
    (
        "runc: create criu restore mountpoint for /a mount: stat /w/nested: no such file or directory",
        "missing-source",
        Some("/w/nested"),
    ),
    (
        "runc: exec: \"criu\": executable file not found in $PATH",
        "missing-criu",
        None,
    ),
    (
        "crun: could not load `libcriu.so.2`: `libcriu.so.2: cannot open shared object file`",
        "missing-criu",
        None,
    ),
    (
        "crun: stat `/w/nested`: No such file or directory",
        "missing-source",
        Some("/w/nested"),
    ),
    (
        "CRIU restoring failed -52.  Please check CRIU logfile /w/restore.log",
        "log-elsewhere",
        Some("/w/restore.log"),
    ),
    (
        "log file: /w/restore.log",
        "log-elsewhere",
        Some("/w/restore.log"),
    ),
    ("criu failed: type NOTIFY errno 0", "log-elsewhere", None),
    ("CRIU restoring failed: -52", "log-elsewhere", None),
    ("CRIU checkpointing failed: -52", "log-elsewhere", None),
];

/// Errors that are never the reason.
const SKIPPED: &[&str] = &[
    "Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted",
    "Error (criu/cgroup.c:1998): cg: cgroupd: recv req error: No such file or directory",
    "Error (criu/cr-check.c:1033): cgroupns not supported. This is not fatal.",
    "Error (criu/cr-restore.c:2320): Restoring FAILED.",
    "1: Error (criu/cr-restore.c:1265): 34 exited, status=1",
    "Error (criu/cr-restore.c:953): Failed to wait on helpers and zombies",
    "Error (criu/cr-restore.c:948): Child 34 died too early",
    "Error (criu/cr-restore.c:2267): Pre-resume script ret code -1",
    "Error (criu/cr-dump.c:2111): Dumping FAILED.",
    "Error (criu/util.c:656): exited, status=3",
    "Error (criu/action-scripts.c:156): One of more action scripts failed",
    "34: Error (criu/files.c:1221): Unable to open fd=5 id=0x3",
    "34: Error (criu/mem.c:911): Can't fixup VMA's fd",
    "1: Error (criu/net.c:1947): net: Unable to restore network links",
];

fn place(said: &Value) -> Value {
    json!([said["code"], said["container_path"], said["host_path"]])
}

#[test]
fn each_error_of_crius_is_known_with_its_place() {
    for (line, code, container, host) in LINES {
        let (status, said) = explain(format!("{LOG}(00.031291)      {line}\n"));
        assert_eq!(
            (status, place(&said)),
            (0, json!([code, container, host])),
            "{line}"
        );
        let (_, message) = line.split_once("): ").unwrap();
        assert_eq!(said["criu"], message);
    }
}

#[test]
fn each_error_of_an_engine_is_known() {
    for (line, code, host) in OTHERS {
        let (status, said) = explain(line);
        assert_eq!(
            (status, place(&said)),
            (0, json!([code, null, host])),
            "{line}"
        );
    }
}

#[test]
fn every_known_error_has_its_line_here() {
    let lines = LINES
        .iter()
        .map(|line| line.0)
        .chain(OTHERS.iter().map(|line| line.0));
    let used: BTreeSet<&str> = lines.filter_map(|line| known_by(line.as_bytes())).collect();
    let all: BTreeSet<&str> = known_patterns().collect();
    let without: Vec<&&str> = all.difference(&used).collect();
    assert!(without.is_empty(), "{without:#?}");
}

#[test]
fn what_is_never_the_reason_is_skipped() {
    let odd = "(00.02) Error (criu/odd.c:1): odd: Can't do it: Bad address\n";
    for line in SKIPPED {
        let (status, said) = explain(format!("{LOG}(00.01) {line}\n{odd}"));
        assert_eq!(
            (status, &said["criu"]),
            (1, &json!("odd: Can't do it: Bad address")),
            "{line}"
        );
    }
}

#[test]
fn the_documentation_has_every_code() {
    let findings = include_str!("../../../docs/findings.md");
    let codes = LINES
        .iter()
        .map(|line| line.1)
        .chain(OTHERS.iter().map(|line| line.1));
    for code in codes {
        assert!(findings.contains(&format!("| `{code}` |")), "{code}");
    }
}
