// SPDX-License-Identifier: Apache-2.0
//! Each error that `premount explain` knows, by a line as it is logged. Lines of CRIU's are those of 4.1.1, unless
//! they say otherwise.

use std::collections::BTreeSet;

use premount::internals::{known_by, known_patterns};
use serde_json::{Value, json};

use super::{LOG, explain};

/// Lines of CRIU's: code, path in the container, path on the host, line.
const LINES: &str = r#"
# Mounts
missing-mountpoint | /data/b/c | /w/volume/b/c | 1: Error (criu/mount-v2.c:628): mnt-v2: Can't stat mountpoint /tmp/.criu.mntns.kTYoCR/mnt-0000000062/b/c: No such file or directory
wrong-kind | /data/b/c | /w/volume/b/c | 1: Error (criu/mount-v2.c:628): mnt-v2: Can't stat mountpoint /tmp/.criu.mntns.kTYoCR/mnt-0000000062/b/c: Not a directory
unreachable | /data/b/c | /w/volume/b/c | 1: Error (criu/mount-v2.c:628): mnt-v2: Can't stat mountpoint /tmp/.criu.mntns.kTYoCR/mnt-0000000062/b/c: Permission denied
wrong-kind | /data/nested | /w/volume/nested | 1: Error (criu/mount-v2.c:324): mnt-v2: Failed to move_mount from /w/nested to /tmp/.criu.mntns.kTYoCR/mnt-0000000077: Invalid argument
wrong-kind | /data/nested | /w/volume/nested | 1: Error (criu/mount-v2.c:324): mnt-v2: Failed to move_mount from /w/nested to /tmp/.criu.mntns.kTYoCR/mnt-0000000077: Not a directory
mount-failed | /data/nested | /w/volume/nested | 1: Error (criu/mount-v2.c:324): mnt-v2: Failed to move_mount from /w/nested to /tmp/.criu.mntns.kTYoCR/mnt-0000000077: Operation not permitted
missing-source | /data/nested | /w/nested | 1: Error (criu/mount-v2.c:319): mnt-v2: Failed to open_tree /w/nested: No such file or directory
# A bind that the workload made.
missing-source | /data/own | /w/volume/own | 1: Error (criu/mount-v2.c:319): mnt-v2: Failed to open_tree /tmp/.criu.mntns.kTYoCR/mnt-0000000062/own: No such file or directory
wrong-kind | /data/tmpfs | /w/volume/tmpfs | 1: Error (criu/mount-v2.c:265): mnt-v2: Can't mount at /tmp/.criu.mntns.kTYoCR/mnt-0000000063: Not a directory
mount-failed | /data/tmpfs | /w/volume/tmpfs | 1: Error (criu/mount-v2.c:265): mnt-v2: Can't mount at /tmp/.criu.mntns.kTYoCR/mnt-0000000063: Operation not permitted
no-criu-root | - | - | 1: Error (criu/mount-v2.c:730): mnt-v2: The --root option is required to restore a mount namespace
missing-mountpoint | /data/x y | /w/volume/x y | 1: Error (criu/mount.c:2232): mnt: Unable to mount tmpfs /tmp/.criu.mntns.kTYoCR/12-0000000000/data/x y (id=63): No such file or directory
wrong-kind | /data/tmpfs | /w/volume/tmpfs | 1: Error (criu/mount.c:2232): mnt: Unable to mount tmpfs /tmp/.criu.mntns.kTYoCR/mnt-0000000063 (id=63): Not a directory
mount-failed | / | - | 1: Error (criu/mount-v2.c:464): mnt-v2: Unable to mount /w/criu-root /tmp/.criu.mntns.kTYoCR/mnt-0000000059 (id=59): Operation not permitted
missing-mountpoint | /data/tmpfs | /w/volume/tmpfs | 1: Error (criu/mount.c:2297): mnt: Can't mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/tmpfs: No such file or directory
wrong-kind | /data/tmpfs | /w/volume/tmpfs | 1: Error (criu/mount.c:2297): mnt: Can't mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/tmpfs: Not a directory
mount-failed | /data/tmpfs | /w/volume/tmpfs | 1: Error (criu/mount.c:2297): mnt: Can't mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/tmpfs: Invalid argument
missing-mountpoint | /data/nested | /w/volume/nested | 1: Error (criu/mount.c:2507): mnt: Can't bind-mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/nested: No such file or directory
wrong-kind | /data/nested | /w/volume/nested | 1: Error (criu/mount.c:2507): mnt: Can't bind-mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/nested: Not a directory
mount-failed | /data/nested | /w/volume/nested | 1: Error (criu/mount.c:2507): mnt: Can't bind-mount at /tmp/.criu.mntns.kTYoCR/12-0000000000/data/nested: Operation not permitted
no-mapping | /data/nested | /w/volume/nested | Error (criu/mount.c:3130): mnt: No mapping for 77:/data/nested mountpoint
no-mapping | /data/nested | /w/volume/nested | Error (criu/mount.c:3109): mnt: Mount 77:/data/nested is autodetected external mount. Try "--ext-mount-map auto" to allow them.
no-root-mount | /run/x | - | Error (criu/mount.c:753): mnt: 85:./run/x doesn't have a proper root mount
no-parent-mount | - | - | Error (criu/mount.c:381): mnt: No parent found for mountpoint 85 (@./)
unsupported-mount | /data/f | /w/volume/f | Error (criu/mount.c:724): mnt: FS mnt ./data/f dev 0x33 root / unsupported id 85
no-tmp | - | - | 1: Error (criu/mount.c:2944): mnt: Can't create a temporary directory: Read-only file system
no-tmp | - | - | Error (criu/mount.c:3065): mnt: Unable to create a temporary directory: No such file or directory
no-criu-root | - | - | 1: Error (criu/mount.c:2742): mnt: The --root option is required to restore a mount namespace
# Open files
missing-open-file | /data/x | /w/volume/x | 34: Error (criu/files-reg.c:2353): Can't open file data/x on restore: No such file or directory
open-file-not-created | /data/x | /w/volume/x | 34: Error (criu/files-reg.c:2353): Can't open file data/x on restore: Permission denied
bad-size | /data/x | /w/volume/x | 34: Error (criu/files-reg.c:2175): File data/x has bad size 0 (expect 6)
bad-mode | /data/x | /w/volume/x | 34: Error (criu/files-reg.c:2294): File data/x has bad mode 040755 (expect 042755)
bad-build-id | /bin/x | - | 34: Error (criu/files-reg.c:2153): File bin/x has bad build-ID
deleted-file | /data/x | /w/volume/x | 34: Error (criu/files-reg.c:2258): Can't link tmp/x.ghost -> data/x: No such file or directory
deleted-file | - | - | 34: Error (criu/files-reg.c:467): Can't create ghost regfile: No space left on device
deleted-file | - | - | 34: Error (criu/files-reg.c:467): Can't create ghost symlink: Permission denied
deleted-file | - | - | 34: Error (criu/files-reg.c:467): Can't create node for ghost dev: Operation not permitted
deleted-file | - | - | 34: Error (criu/files-reg.c:467): Can't make ghost dir: Read-only file system
deleted-file-too-large | /data/x | /w/volume/x | Error (criu/files-reg.c:1031): Can't dump ghost file /data/x of 2097152 size, increase limit
link-remap | /data/x | /w/volume/x | Error (criu/files-reg.c:1122): Can't create link remap for /data/x. Use link-remap option.
missing-open-file | /dev/x | - | 34: Error (criu/files-reg.c:2267): Can't open file dev/x: No such file or directory
deleted-file | - | - | 34: Error (criu/util.c:463): Ghost file size mismatch 1/2
missing-open-file | /data/f | /w/volume/f | 34: Error (criu/fifo.c:98): Can't open fake fifo 0x3 [data/f]: No such file or directory
open-file-not-created | /data/f | /w/volume/f | 34: Error (criu/fifo.c:98): Can't open fake fifo 0x3 [data/f]: Permission denied
missing-open-file | - | - | 34: Error (criu/files.c:1400): Can't open cwd
missing-open-file | - | - | 34: Error (criu/files.c:1394): Can't open root
missing-open-file | /data/run/socket | /w/volume/run/socket | 34: Error (criu/sk-unix.c:1651): unix: Can't bind id 0x7 ino 4242 addr /data/run/socket: No such file or directory
address-in-use | /data/socket | /w/volume/socket | 34: Error (criu/sk-unix.c:1651): unix: Can't bind id 0x7 ino 4242 addr /data/socket: Address already in use
open-file-not-created | /data/socket | /w/volume/socket | 34: Error (criu/sk-unix.c:1651): unix: Can't bind id 0x7 ino 4242 addr /data/socket: Permission denied
missing-open-file | /data/x | /w/volume/x | 34: Error (criu/fsnotify.c:510): fsnotify: Unable to open /data/x: No such file or directory
open-file-not-created | /data/x | /w/volume/x | 34: Error (criu/fsnotify.c:510): fsnotify: Unable to open /data/x: Permission denied
# Network
tcp-connection | - | - | 34: Error (criu/sk-inet.c:903): inet: Connected TCP socket in image
tcp-connection | - | - | Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.
tcp-connection | - | - | Error (criu/sk-inet.c:176): inet: In-flight connection (l) for 1f
missing-address | - | - | 34: Error (criu/sk-inet.c:1049): inet: Can't bind inet socket (id 19): Cannot assign requested address
port-in-use | - | - | 34: Error (criu/sk-inet.c:1049): inet: Can't bind inet socket (id 19): Address already in use
missing-address | - | - | 34: Error (criu/sk-inet.c:1075): inet: Can't connect inet socket back: Cannot assign requested address
network-lock | - | - | Error (criu/net.c:3282): net: Locking network failed: iptables-restore returned -1. This may be connected to disabled CONFIG_NETFILTER_XT_MARK kernel build config option.
network-lock | - | - | Error (criu/util.c:641): execvp("iptables-restore", ...) failed: No such file or directory
network-lock | - | - | Error (criu/util.c:641): execvp("ip6tables-restore", ...) failed: No such file or directory
# CRIU 3.17
network-tools | - | - | 1: Error (criu/net.c:2494): Can't restore iptables dump - no legacy version present
network-tools | - | - | 1: Error (criu/util.c:641): execvp("ip", ...) failed: No such file or directory
network-tools | - | - | 1: Error (criu/net.c:1969): net: IP tool failed on addr restore (null) (null)
external-namespace | - | - | 1: Error (criu/net.c:2792): net: Unable to find an external netns: extRootNetNS
# Processes
external-namespace | - | - | Error (criu/cr-restore.c:1157): Unable to find an external pidns: extRootPidNS
other-architecture | - | - | Error (criu/cr-restore.c:854): Core march mismatch 4
pid-in-use | - | - | Error (criu/cr-restore.c:1230): Can't fork for 41: File exists
no-privilege | - | - | Error (criu/cr-restore.c:1230): Can't fork for 41: Operation not permitted
pid-in-use | - | - | 41: Error (criu/cr-restore.c:1539): Pid 42 do not match expected 41
no-privilege | - | - | Error (criu/cr-restore.c:1194): Setting PID failed
pid-in-use | - | - | Error (criu/cr-restore.c:2034): This process tree can only be restored in a new pid namespace.
runtime-hook | - | - | Error (criu/cr-restore.c:2005): Aborting restore due to pre-restore script ret code -1
task-killed | - | - | Error (criu/cr-restore.c:1262): 41 killed by signal 11: Segmentation fault
runtime-hook | - | - | Error (criu/cr-service.c:235): RPC client reported script error
action-script | - | - | Error (criu/action-scripts.c:94): Script /w/script exited with -1
no-privilege | - | - | Error (criu/util.c:809): You need to be root to run this command
# Security modules, plugins
other-lsm | - | - | Error (criu/lsm.c:358): mismatched lsm types and lsm profile specified
other-lsm | - | - | Error (criu/lsm.c:404): apparmor LSM specified but apparmor not supported by kernel
other-lsm | - | - | Error (criu/lsm.c:411): selinux LSM specified but selinux not supported by kernel
missing-lsm-profile | - | - | pie: 41: Error (criu/pie/restorer.c:195): can't write lsm profile -2
missing-plugin | - | - | Error (criu/image.c:193): Missing required plugin: cuda_plugin
missing-plugin | - | - | Error (criu/plugin.c:127): Can't load plugin /usr/lib/criu/cuda_plugin.so
# Terminals, external sockets
terminal | - | - | Error (criu/tty.c:1830): tty: Found dangling tty with sid 16693 pgid 16711 (pts) on peer fd 0.
terminal | - | - | Error (criu/tty.c:1010): tty: Don't have tty to inherit session from, aborting
terminal | - | - | 34: Error (criu/tty.c:625): tty: Unable to open dev/ptmx with specified index 0
terminal | - | - | Error (criu/pstree.c:300): The root process 41 is not a session leader. Consider using --shell-job option
terminal | - | - | Error (criu/pstree.c:382): Current sid 41 intersects with pid (41) in images
terminal | - | - | Error (criu/pstree.c:414): Current gid 41 intersects with pid (41) in images
external-socket | - | - | Error (criu/sk-unix.c:874): unix: External socket is used. Consider using --ext-unix-sk option.
external-socket | - | - | 34: Error (criu/sk-unix.c:1912): unix: External socket found in image. Consider using the --ext-unix-sk option to allow restoring it.
# Cgroups
cgroup-controller | - | - | Error (criu/cgroup.c:1936): cg: 	Can't mount controller dir .criu.cgyard.x/cpu: Device or resource busy
cgroup | - | - | Error (criu/cgroup.c:1805): cg: Can't make cgroup dir unified/c1: Permission denied
cgroup | - | - | Error (criu/cgroup.c:1795): cg: Failed accessing cgroup dir unified/c1: Permission denied
cgroup | - | - | Error (criu/cgroup.c:1800): cg: Cgroup dir unified/c1 doesn't exist
cgroup | - | - | 34: Error (criu/cgroup.c:1249): cg: Can't move into unified/c1/tasks (-1/-1): No such file or directory
cgroup | - | - | Error (criu/cgroup.c:1472): cg: Failed writing 0 to unified/c1/cpu.max: Invalid argument
cgroup | - | - | Error (criu/cgroup.c:2048): cg: cgroupd: Can't move thread 41 into unified/c1
# Images
tcp-close | - | - | Error (criu/image.c:94): Need to set the --tcp-close options.
image-version | - | - | Error (criu/image.c:89): Not supported images version 2
image-version | - | - | Error (criu/image.c:52): Too old image, no longer supported
missing-image | - | - | Error (criu/protobuf.c:72): Unexpected EOF on core-1.img
missing-image | - | - | Error (criu/image.c:866): Img trimmed 1/2
bad-image | - | - | Error (criu/image.c:558): Magic doesn't match for core-1.img
bad-image | - | - | Error (criu/image.c:549): Head magic doesn't match for core-1.img
# Processor, kernel
processor | - | - | Error (criu/arch/x86/cpu.c:297): cpu: CPU capabilities do not match run time
processor | - | - | Error (criu/arch/x86/cpu.c:223): cpu: CPU instruction capabilities do not match run time
processor | - | - | Error (criu/arch/x86/cpu.c:247): cpu: FPU feature required by image is not supported on host.
processor | - | - | Error (criu/arch/x86/cpu.c:414): cpu: No x86 related cpuinfo in image, corruption (n_x86_entry = 0)
kernel | - | - | Error (criu/vdso.c:395): vdso: Unexpected rt vDSO area bounds
kernel | - | - | Error (criu/vdso.c:400): vdso: Can't find rt vDSO
kernel | - | - | Error (criu/kerndat.c:514): Kernel reports more capabilities than this CRIU supports: 42 > 41
kernel | - | - | Error (criu/kerndat.c:1906): kerndat_vdso_fill_symtable failed when initializing kerndat.
"#;

/// Lines of runtimes and engines, as in docs/limits.md: code, path on the host, line.
const OTHERS: &str = r#"
missing-secret | - | Error: no secret with name or id "s1": no such secret
missing-secret | - | crun: stat `/w/containers/1/userdata/secrets/s1`: No such file or directory
missing-secret | - | runc: stat /w/containers/1/userdata/secrets/s1: no such file or directory
missing-secret | - | runc: create criu restore mountpoint for /run/secrets/s1 mount: stat /w/s1: no such file or directory
missing-volume | - | Error: failed to open volume file /w/v.tar: open /w/v.tar: no such file or directory
missing-volume | - | Error: volume with name v already exists. Use --ignore-volumes to not restore content of volumes
copy-of-before | - | Error response from daemon: content sha256:0123456789abcdef: already exists
missing-volume-mount | - | restoring "c" expects following bind mounts defined (/run,/tmp)
runtime-of-shim | - | error opening CRIU work directory `/w/criu-work`: No such file or directory
runtime-of-shim | - | ctr: OCI runtime restore failed: /usr/bin/crun did not terminate successfully: exit status 64: unknown
leftover-mount | - | runc: possibly malicious path detected -- refusing to operate on /w/rootfs
missing-hook | /usr/libexec/oci/hooks.d/premount | runc: error running createRuntime hook #0: fork/exec /usr/libexec/oci/hooks.d/premount: no such file or directory
missing-source | /w/nested | runc: mount src=/w/nested, dst=/a/b, dstFd=/proc/thread-self/fd/8, flags=MS_BIND|MS_REC: no such file or directory
missing-source | /w/nested | runc: create criu restore mountpoint for /a mount: stat /w/nested: no such file or directory
missing-criu | - | runc: exec: "criu": executable file not found in $PATH
missing-criu | - | crun: could not load `libcriu.so.2`: `libcriu.so.2: cannot open shared object file`
missing-source | /w/nested | crun: stat `/w/nested`: No such file or directory
log-elsewhere | /w/restore.log | CRIU restoring failed -52.  Please check CRIU logfile /w/restore.log
log-elsewhere | /w/restore.log | log file: /w/restore.log
log-elsewhere | - | criu failed: type NOTIFY errno 0
log-elsewhere | - | CRIU restoring failed: -52
log-elsewhere | - | CRIU checkpointing failed: -52
"#;

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

/// The rows of a table.
fn rows<const COLUMNS: usize>(
    table: &'static str,
) -> impl Iterator<Item = [&'static str; COLUMNS]> {
    let rows = table
        .lines()
        .filter(|row| !row.is_empty() && !row.starts_with("# "));
    rows.map(|row| {
        let columns: Vec<&str> = row.splitn(COLUMNS, " | ").collect();
        columns.try_into().unwrap_or_else(|_| panic!("{row}"))
    })
}

/// A path, or none.
fn path(column: &str) -> Option<&str> {
    (column != "-").then_some(column)
}

fn place(said: &Value) -> Value {
    json!([said["code"], said["container_path"], said["host_path"]])
}

#[test]
fn each_error_of_crius_is_known_with_its_place() {
    for [code, container, host, line] in rows(LINES) {
        let (status, said) = explain(format!("{LOG}(00.031291)      {line}\n"));
        let expected = json!([code, path(container), path(host)]);
        assert_eq!((status, place(&said)), (0, expected), "{line}");
        let (_, message) = line.split_once("): ").unwrap();
        assert_eq!(said["criu"], message);
    }
}

#[test]
fn each_error_of_an_engine_is_known() {
    for [code, host, line] in rows(OTHERS) {
        let (status, said) = explain(line);
        assert_eq!(
            (status, place(&said)),
            (0, json!([code, null, path(host)])),
            "{line}"
        );
    }
}

#[test]
fn every_known_error_has_its_line_here() {
    let of_criu = rows(LINES).map(|[.., line]: [_; 4]| line);
    let lines = of_criu.chain(rows(OTHERS).map(|[.., line]: [_; 3]| line));
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
    let codes = rows(LINES).map(|[code, ..]: [_; 4]| code);
    for code in codes.chain(rows(OTHERS).map(|[code, ..]: [_; 3]| code)) {
        assert!(findings.contains(&format!("| `{code}`")), "{code}");
    }
}
