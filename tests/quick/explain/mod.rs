// SPDX-License-Identifier: Apache-2.0
//! `premount explain`: the choice among the errors of a log, where they are, and quotes of it. hostile.rs: input that
//! means ill; known.rs: each error that it knows.

mod hostile;
mod known;

use std::fs;

use serde_json::{Value, json};

use crate::common::{World, premount};

/// A restore by crun 1.28 and CRIU 4.2.1, shortened.
const LOG: &str = "\
(00.000000) Parsing config file /etc/criu/crun.conf
(00.000054) Version: 4.2.1 (gitid 0)
(00.001239) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.001506) No memfd.img image
(00.002884) mnt: \t\tWill mount 77 from /w/nested (E)
(00.002895) mnt: \t\tWill mount 77 @ /tmp/.criu.mntns.kTYoCR/mnt-0000000077 /data/nested
(00.002898) mnt: \tRead 77 mp @ /data/nested
(00.002909) mnt: \t\tWill mount 63 from /
(00.002991) mnt: \tRead 63 mp @ /data/tmpfs
(00.002995) mnt: \t\tWill mount 62 from /w/volume (E)
(00.003000) mnt: \tRead 62 mp @ /data
(00.003032) mnt: \t\tWill mount 59 from /w/bundle/rootfs
(00.003037) mnt: \tRead 59 mp @ /
(00.007675)      1: mnt: Move the root to /tmp/.criu.mntns.kTYoCR
(00.031136)      1: mnt-v2: Mount 62 is detected as dir-mount
";
const STAT: &str = "(00.031291)      1: Error (criu/mount-v2.c:634): mnt-v2: Can't stat mountpoint \
                    /tmp/.criu.mntns.kTYoCR/mnt-0000000062/tmpfs: No such file or directory\n";
const END: &str = "\
(00.032942) Error (criu/cr-restore.c:2331): Restoring FAILED.
(00.034241) Error (criu/cgroup.c:2055): cg: cgroupd: recv req error: No such file or directory
";

/// What it says of a text: the exit status, and the JSON.
fn explain(text: impl AsRef<[u8]>) -> (i32, Value) {
    let arguments = ["explain", "-", "--format", "json"];
    let ended = premount(&arguments, text.as_ref(), &[]);
    let json = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    (ended.status, json)
}

/// The code, and the paths in the container and on the host.
fn found(text: impl AsRef<[u8]>) -> Value {
    let (status, said) = explain(text);
    assert_eq!(
        (status, &said["verdict"]),
        (0, &json!("explained")),
        "{said}"
    );
    json!([said["code"], said["container_path"], said["host_path"]])
}

#[test]
fn the_reason_is_named_with_its_place_on_the_host() {
    let ended = premount(
        &["explain", "-"],
        (LOG.to_owned() + STAT + END).as_bytes(),
        &[],
    );
    assert_eq!((ended.status, &ended.stderr[..]), (0, ""));
    let expected = "\
missing-mountpoint: the directory or file that CRIU mounts on is missing on the host
    In the container: /data/tmpfs
    On the host: /w/volume/tmpfs
    Logged: mnt-v2: Can't stat mountpoint /tmp/.criu.mntns.kTYoCR/mnt-0000000062/tmpfs: No such file or directory
    Remedy: ";
    assert!(ended.stdout.starts_with(expected), "{}", ended.stdout);
    let (_, said) = explain(LOG.to_owned() + STAT + END);
    assert_eq!((&said["version"], &said["line"]), (&json!(1), &json!(16)));
}

#[test]
fn the_wrong_kind_is_shown_with_what_is_mounted() {
    let error = "(00.09)      1: Error (criu/mount-v2.c:324): mnt-v2: Failed to move_mount from /w/nested to \
                 /tmp/.criu.mntns.kTYoCR/mnt-0000000077: Invalid argument\n";
    let (_, said) = explain(LOG.to_owned() + error + END);
    let place = json!([
        said["code"],
        said["container_path"],
        said["host_path"],
        said["source"]
    ]);
    let expected = json!([
        "wrong-kind",
        "/data/nested",
        "/w/volume/nested",
        "/w/nested"
    ]);
    assert_eq!(place, expected);
}

#[test]
fn open_files_are_found_in_the_innermost_mount() {
    let open = |path: &str| {
        let error = format!(
            "(00.05) 34: Error (criu/files-reg.c:2353): Can't open file {path} on restore: No such \
                             file or directory\n"
        );
        found(
            LOG.to_owned()
                + &error
                + "(00.05) 34: Error (criu/files.c:1399): Can't open cwd\n"
                + END,
        )
    };
    let code = "missing-open-file";
    assert_eq!(
        open("data/app"),
        json!([code, "/data/app", "/w/volume/app"])
    );
    assert_eq!(
        open("data/nested/app"),
        json!([code, "/data/nested/app", "/w/nested/app"])
    );
    assert_eq!(
        open("data/tmpfs/app"),
        json!([code, "/data/tmpfs/app", null])
    );
    assert_eq!(open("etc/app"), json!([code, "/etc/app", null]));
}

#[test]
fn a_success_is_a_success_whatever_was_logged_before() {
    let text =
        LOG.to_owned() + STAT + "(00.05) Restore finished successfully. Tasks resumed.\n" + STAT;
    assert_eq!(
        explain(text),
        (0, explain("(00.05) Restore finished successfully.").1)
    );
    let ended = premount(
        &["explain", "-"],
        b"(00.05) Restore finished successfully.",
        &[],
    );
    assert_eq!(ended.stdout, "The restore succeeded.\n");
    let (status, said) = explain("(00.05) Dumping finished successfully\n");
    assert_eq!((status, &said["verdict"]), (0, &json!("checkpointed")));
}

#[test]
fn a_log_that_breaks_off_is_no_success() {
    let ended = premount(&["explain", "-"], LOG.as_bytes(), &[]);
    assert_eq!(ended.status, 0);
    assert!(
        ended
            .stdout
            .contains("no error in this log, and it does not say that")
    );
    assert_eq!(explain(LOG).1["verdict"], "no-error");
}

#[test]
fn of_several_logs_in_a_file_the_last_counts() {
    let good = "(00.000054) Version: 4.2.1 (gitid 0)\n(00.05) Restore finished successfully.\n";
    assert_eq!(
        explain(LOG.to_owned() + STAT + END + good).1["verdict"],
        "restored"
    );
    let bad = good.to_owned() + LOG + STAT + END;
    assert_eq!(
        found(bad),
        json!(["missing-mountpoint", "/data/tmpfs", "/w/volume/tmpfs"])
    );
}

#[test]
fn an_unknown_error_is_shown_as_it_is() {
    let odd = "(00.02)      1: Error (criu/odd.c:1): odd: Can't do it: Bad address\n";
    let (status, said) = explain(LOG.to_owned() + odd + END);
    assert_eq!((status, &said["verdict"]), (1, &json!("unknown")));
    assert_eq!(
        (&said["criu"], &said["line"]),
        (&json!("odd: Can't do it: Bad address"), &json!(16))
    );
    // It may be why the one that follows failed.
    let (status, said) = explain(LOG.to_owned() + odd + STAT + odd + END);
    assert_eq!((status, &said["code"]), (0, &json!("missing-mountpoint")));
    assert_eq!(said["before"], "odd: Can't do it: Bad address");
    let (_, said) = explain(LOG.to_owned() + STAT + odd + END);
    assert_eq!(said["before"], json!(null));
    // What follows from others is better than nothing.
    let (status, said) = explain(LOG.to_owned() + END);
    assert_eq!((status, &said["criu"]), (1, &json!("Restoring FAILED.")));
}

#[test]
fn an_unknown_text_is_shown_as_it_is() {
    let (status, said) = explain("crun: something odd\nand more\n");
    assert_eq!(
        (status, &said["verdict"], &said["criu"]),
        (1, &json!("unknown"), &json!("crun: something odd"))
    );
}

#[test]
fn a_missing_image_is_named() {
    let text = LOG.to_owned()
        + "(00.02) No core-1.img image\n(00.02) Error (criu/protobuf.c:72): Unexpected EOF on (empty-image)\n";
    let (_, said) = explain(text + END);
    assert_eq!(
        (&said["code"], &said["before"]),
        (&json!("missing-image"), &json!("No core-1.img image"))
    );
    // Without this one, CRIU has nothing to do, and no error to log.
    let (status, said) =
        explain(LOG.to_owned() + "(00.02) No pstree.img image\n(00.02) pstree pid_max=0\n");
    assert_eq!((status, &said["code"]), (0, &json!("missing-image")));
}

#[test]
fn quotes_of_engines_are_understood() {
    let stat = "mnt-v2: Can't stat mountpoint /tmp/.criu.mntns.kTYoCR/mnt-0000000062/tmpfs: No such file or directory";
    let quotes = [
        // crun, and Podman with crun
        format!(
            "--- excerpt from CRIU log `/w/criu/restore.log`\n{STAT}CRIU restoring failed: -52\n"
        ),
        format!("Error: OCI runtime error: crun: {STAT}"),
        format!(
            "Error: crun: (00.1)      1: Error (criu/mount-v2.c:634): {stat}: OCI runtime error\n"
        ),
        // runc
        format!(
            "time=\"2026-11-25T15:36:46Z\" level=warning msg=\"472:(00.05)      1: Error (criu/mount-v2.c:634): {stat}\"\n\
                 time=\"2026-11-25T15:36:46Z\" level=error msg=\"criu failed: type RESTORE errno 0\"\n"
        ),
        // kubelet, which quotes CRI-O, which quotes the runtime
        format!(
            "Error: failed to restore container c: time=\\\"2026\\\" level=error msg=\\\"criu failed: type NOTIFY errno \
                 0\\\\nlog file: /w/restore.log\\\\n(00.1) Error (criu/mount-v2.c:634): {stat}\\\"\n"
        ),
        // somebody who asks for help
        format!("{stat}\n"),
        format!("Error (criu/mount-v2.c:634): {stat}\n"),
        format!("   1: Error (mount-v2.c:634): {stat}\n"),
    ];
    for quote in quotes {
        let (status, said) = explain(&quote);
        assert_eq!(
            (status, &said["code"]),
            (0, &json!("missing-mountpoint")),
            "{quote}"
        );
        assert_eq!(said["criu"], stat, "{quote}");
    }
}

#[test]
fn an_error_that_only_names_the_log_leads_there() {
    for text in [
        "criu failed: type NOTIFY errno 0\nlog file: /w/restore.log",
        "level=error msg=\"criu failed: type NOTIFY errno 0\\nlog file: /w/restore.log\"",
        "CRIU restoring failed -52.  Please check CRIU logfile /w/restore.log",
    ] {
        let (status, said) = explain(text);
        assert_eq!(
            (status, &said["code"]),
            (0, &json!("log-elsewhere")),
            "{text}"
        );
        assert!(said["remedy"].as_str().unwrap().contains("log-file"));
    }
    // Podman with crun quotes the first error.
    let quote = "Error: crun: (00.004680) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: \
                 Operation not permitted: OCI runtime error";
    assert_eq!(found(quote), json!(["log-elsewhere", null, null]));
}

#[test]
fn a_bundle_has_the_host_paths_that_a_quote_lacks() {
    let world = World::new();
    let bind = |at: &str, source: &str| json!({"destination": at, "type": "bind", "source": source, "options": ["bind"]});
    let tmpfs = json!({"destination": "/data/tmpfs", "type": "tmpfs", "source": "tmpfs"});
    let config = json!({"ociVersion": "1.0.2", "root": {"path": "/w/rootfs"},
                        "mounts": [bind("/data", "/w/volume"), tmpfs, bind("/data/nested", "/w/nested")]});
    let bundle = world.directory("quoted");
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let bundle = bundle.to_str().unwrap();
    let with = |text: &str| {
        let arguments = ["explain", "-", "--format", "json", "--bundle", bundle];
        let ended = premount(&arguments, text.as_bytes(), &[]);
        let said: Value =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
        json!([said["container_path"], said["host_path"]])
    };
    assert_eq!(with(STAT), json!(["/data/tmpfs", "/w/volume/tmpfs"]));
    let open = |path: &str| {
        format!(
            "Error (criu/files-reg.c:1): Can't open file {path} on restore: No such file or directory"
        )
    };
    assert_eq!(
        with(&open("data/nested/x")),
        json!(["/data/nested/x", "/w/nested/x"])
    );
    assert_eq!(with(&open("etc/x")), json!(["/etc/x", "/w/rootfs/etc/x"]));
    // A log that lists the mounts counts for more.
    let listed = LOG.replace("/w/volume", "/w/other") + STAT;
    assert_eq!(with(&listed), json!(["/data/tmpfs", "/w/other/tmpfs"]));
    let ended = premount(&["explain", "-", "--bundle", "/nowhere"], b"x", &[]);
    assert_eq!(ended.status, 2, "{ended:?}");
}

#[test]
fn lines_of_premounts_own_say_more() {
    let of_mount = [
        (
            " INFO premount: mountpoint missing, and nothing tells whether it is a directory or a file \
             mount=\"/data/tmpfs\" path=\"/w/volume/tmpfs\"",
            "mountpoint-of-unknown-kind",
        ),
        (
            "ERROR premount: read-only: mount /data/tmpfs: cannot create it: /w/volume/tmpfs: mkdirat: Read-only file system (EROFS)",
            "read-only",
        ),
        (
            "ERROR premount: mount /data/tmpfs: cannot create it: /w/volume/tmpfs: mkdirat: No space left (ENOSPC)",
            "unreachable",
        ),
        (
            "ERROR premount: mount /data/tmpfs2: cannot create it: /w/volume/tmpfs2: mkdirat: x (EROFS)",
            "missing-mountpoint",
        ),
    ];
    for (line, code) in of_mount {
        let (_, said) = explain(format!("{LOG}{line}\n{STAT}{END}"));
        assert_eq!(said["code"], code, "{line}");
        assert_eq!(said["premount"], json!([line.trim()]));
    }
    let open = "(00.05) 34: Error (criu/files-reg.c:2353): Can't open file data/f on restore: No such file or directory\n";
    let of_file = [
        (
            " WARN premount: missing-log: CRIU accepts an empty one file=\"/data/f\" path=\"/w/volume/f\"",
            "missing-log",
        ),
        (
            " WARN premount: missing-content: a task has it open file=\"/data/f\" path=\"/w/volume/f\"",
            "missing-content",
        ),
        (
            " WARN premount: open-file-of-unknown-kind: it is missing file=\"/data/f\" path=\"/w/volume/f\"",
            "open-file-of-unknown-kind",
        ),
        (
            " WARN premount: open-file-not-created: open file /data/f: cannot create it: /w/volume: mkdirat: Permission denied (EACCES)",
            "open-file-not-created",
        ),
        (
            " INFO premount: open file not inspected: a symbolic link is on the way file=\"/data/f\" path=\"/w/volume/f\"",
            "open-file-not-created",
        ),
    ];
    for (line, code) in of_file {
        assert_eq!(
            explain(format!("{LOG}{line}\n{open}{END}")).1["code"],
            code,
            "{line}"
        );
    }
}

#[test]
fn a_restore_that_premount_ended_is_explained_by_premounts_error() {
    let ended = |text: &str| {
        let error = format!("ERROR premount: mount /data/a: {text}\n");
        let script = "(00.02) Error (criu/util.c:657): exited, status=1\n\
                      (00.02) Error (criu/action-scripts.c:94): Script /w/premount exited with -1\n";
        let log = LOG.replace("mnt: ", "");
        let (_, said) = explain(format!("{log}{error}{script}{error}{script}{END}"));
        assert_eq!(said["premount"], json!([error.trim()]));
        json!([said["code"], said["container_path"], said["host_path"]])
    };
    let (at, host) = ("/data/a", "/w/volume/a");
    let text = "cannot create it: /w/volume/a: mkdirat: Read-only file system (EROFS)";
    assert_eq!(ended(text), json!(["read-only", at, host]));
    let text = "cannot create it: /w/volume/a: mkdirat: No space left on device (ENOSPC)";
    assert_eq!(ended(text), json!(["unreachable", at, host]));
    let text = "it has to be a directory, and a file is there: /w/volume/a: mount: Not a directory (ENOTDIR)";
    assert_eq!(ended(text), json!(["wrong-kind", at, host]));
    let text = "it has to be a file, and a directory is there: /w/volume/a: mount: Is a directory (EISDIR)";
    assert_eq!(ended(text), json!(["wrong-kind", at, host]));
    let text = "its source can't be opened: /w/a: open: No such file or directory (ENOENT)";
    assert_eq!(ended(text), json!(["missing-source", at, "/w/a"]));
}

#[test]
fn why_premount_did_nothing_is_shown_and_what_it_did_elsewhere_is_not() {
    let why = " INFO premount: no OCI configuration found: nothing to do";
    let done = " INFO premount: created directory path=\"/w/volume/x\" mount=\"/data/x\"";
    let (_, said) = explain(format!("{LOG}{done}\n{why}\n{STAT}{END}"));
    assert_eq!(said["premount"], json!([why.trim()]));
}
