// SPDX-License-Identifier: Apache-2.0
//! A container of an engine's whose process holds one of each kind in its volume, and what can be wrong with that
//! volume when it is restored: what `check` says of the checkpoint alone, with no bundle, is what the engine does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::host::{Host, Runtime, tool};
use crate::open_files::script;

/// The volume, in the container at /data; in it, /data/nested is another.
const VOLUME: &str = "/w/volume";
/// Its copy of the moment of the checkpoint.
const RIGHT: &str = "/w/right";
/// The volumes, as engines are told.
pub const VOLUMES: [&str; 2] = [
    "--volume=/w/volume:/data",
    "--volume=/w/nested:/data/nested",
];

const HOLDER: &[&str] = &[
    "mkdir:/data/app:1711",
    "cd:/data/app",
    "open:/data/content",
    "empty:/data/lock:600",
    "log:/data/log:644",
    "mkdir:/data/run:755",
    "fifo:/data/run/fifo:640",
    "listen:/data/run/socket",
];

/// What is needed in the volume.
const NEEDED: [&str; 8] = [
    "  1711           /data/app\n",
    "  0644  7 bytes  /data/content (with its content)\n",
    "  0600  0 bytes  /data/lock\n",
    "  0644           /data/log (see io.premount.append)\n",
    "                 /data/nested\n",
    "                 /data/run\n",
    "  0640           /data/run/fifo\n",
    "                 /data/run/socket\n",
];

/// Something wrong with the volume.
pub struct Damage {
    pub name: &'static str,
    /// Damages it.
    act: fn(&Path),
    /// What the findings say, and CRIU, for each runtime: what of its error is the same everywhere. None if it
    /// restores; nothing if the runtime fails before CRIU.
    runc: Option<&'static [&'static str]>,
    crun: Option<&'static [&'static str]>,
    /// Whether premount makes what is missing.
    pub is_mended: bool,
}

const NOTHING: Damage = Damage {
    name: "nothing",
    act: |_| {},
    runc: None,
    crun: None,
    is_mended: false,
};

const fn both(name: &'static str, act: fn(&Path), says: &'static [&'static str]) -> Damage {
    Damage {
        name,
        act,
        runc: Some(says),
        crun: Some(says),
        ..NOTHING
    }
}

pub const DAMAGES: &[Damage] = &[
    NOTHING,
    both(
        "no content",
        |volume| fs::remove_file(volume.join("content")).unwrap(),
        &["Can't open file data/content"],
    ),
    both(
        "longer content",
        |volume| fs::write(volume.join("content"), "content and more").unwrap(),
        &["File data/content has bad size 16 (expect 7)"],
    ),
    both(
        "content with another mode",
        |volume| set_mode(&volume.join("content"), 0o600),
        &["File data/content has bad mode 0100600 (expect 0100644)"],
    ),
    both(
        "a directory for the content",
        |volume| {
            fs::remove_file(volume.join("content")).unwrap();
            fs::create_dir(volume.join("content")).unwrap();
        },
        // How it fails depends on how the file was open.
        &["data/content"],
    ),
    Damage {
        is_mended: true,
        ..both(
            "no working directory",
            |volume| fs::remove_dir(volume.join("app")).unwrap(),
            &["Can't open file data/app"],
        )
    },
    both(
        "a working directory with another mode",
        |volume| set_mode(&volume.join("app"), 0o755),
        &["File data/app has bad mode 040755 (expect 041711)"],
    ),
    both(
        "a file that is no longer empty",
        |volume| fs::write(volume.join("lock"), "1").unwrap(),
        &["File data/lock has bad size 1 (expect 0)"],
    ),
    Damage {
        is_mended: true,
        ..both(
            "no empty file",
            |volume| fs::remove_file(volume.join("lock")).unwrap(),
            &["Can't open file data/lock"],
        )
    },
    both(
        "no log",
        |volume| fs::remove_file(volume.join("log")).unwrap(),
        &["Can't open file data/log"],
    ),
    Damage {
        name: "a longer log",
        act: |volume| fs::write(volume.join("log"), "as long as it likes to be").unwrap(),
        ..NOTHING
    },
    Damage {
        is_mended: true,
        ..both(
            "no FIFO",
            |volume| fs::remove_file(volume.join("run/fifo")).unwrap(),
            &["Can't open fake fifo", "[data/run/fifo]"],
        )
    },
    Damage {
        is_mended: true,
        ..both(
            "nothing of its FIFO and its socket",
            |volume| fs::remove_dir_all(volume.join("run")).unwrap(),
            &[": No such file or directory"],
        )
    },
    Damage {
        name: "no socket",
        act: |volume| fs::remove_file(volume.join("run/socket")).unwrap(),
        ..NOTHING
    },
    both(
        "a file for the socket",
        |volume| {
            fs::remove_file(volume.join("run/socket")).unwrap();
            fs::write(volume.join("run/socket"), "").unwrap();
        },
        &["Can't bind", "Address already in use"],
    ),
    Damage {
        name: "no mountpoint",
        act: |volume| fs::remove_dir(volume.join("nested")).unwrap(),
        // It makes that itself.
        runc: None,
        crun: Some(&["Can't stat mountpoint"]),
        is_mended: true,
    },
    Damage {
        name: "a file for the mountpoint",
        act: |volume| {
            fs::remove_dir(volume.join("nested")).unwrap();
            fs::write(volume.join("nested"), "").unwrap();
        },
        // Before it calls CRIU.
        runc: Some(&[]),
        crun: Some(&["Failed to move_mount from"]),
        ..NOTHING
    },
];

impl Damage {
    /// Makes the volume as it was at the checkpoint, and damages it.
    pub fn inflict(&self) {
        renew();
        (self.act)(Path::new(VOLUME));
    }

    /// What CRIU says of it; none if the runtime restores.
    pub fn says(&self, runtime: Runtime) -> Option<&'static [&'static str]> {
        match runtime {
            Runtime::Runc => self.runc,
            Runtime::Crun => self.crun,
        }
    }

    /// Asserts that `check` predicts this damage, of the checkpoint with its volumes named; and nothing else.
    pub fn assert_predicted(&self, checkpoint: &str, runtime: Runtime) {
        let volumes = [
            "/data=/w/volume",
            "/data/nested=/w/nested",
            "/count=/w/count",
        ];
        let volumes = volumes.map(|volume| format!("--volume={volume}"));
        let mut call = vec!["check", "--checkpoint", checkpoint, "--format", "json"];
        call.extend(volumes.iter().map(String::as_str));
        let ended = Host::call_premount(&call);
        let (name, says) = (self.name, self.says(runtime));
        assert!(ended.status < 2, "{name}: {}", ended.stderr);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let said = || format!("{name}: {findings:#?}");
        assert_eq!(ended.status, i32::from(says.is_some()), "{}", said());
        assert_eq!(findings.is_empty(), says.is_none(), "{}", said());
        for piece in says.unwrap_or_default() {
            let is_said = |finding: &Value| finding["criu"].as_str().unwrap().contains(piece);
            assert!(findings.iter().any(is_said), "{piece}: {}", said());
        }
    }

    /// Asserts that a restore ended as predicted; `log` is what CRIU said.
    pub fn assert_came_true(&self, runtime: Runtime, has_restored: bool, log: &str) {
        let (name, says) = (self.name, self.says(runtime));
        assert_eq!(has_restored, says.is_none(), "{name}: {log}");
        let pieces = says.unwrap_or_default();
        let is_said = |line: &str| pieces.iter().all(|piece| line.contains(piece));
        let is_said = pieces.is_empty() || log.lines().any(is_said);
        assert!(is_said, "{name}: CRIU failed otherwise: {log}");
    }
}

/// What the process does before it counts.
pub fn holder() -> String {
    let holder: Vec<String> = HOLDER.iter().map(|&what| what.to_owned()).collect();
    format!("echo -n content > /data/content\n{}", script(&[holder]))
}

/// Keeps the volume as it is at the checkpoint.
pub fn keep() {
    let _ = fs::remove_dir_all(RIGHT);
    tool("cp", &["-a", VOLUME, RIGHT]);
}

/// Makes the volume as it was.
pub fn renew() {
    fs::remove_dir_all(VOLUME).unwrap();
    tool("cp", &["-a", RIGHT, VOLUME]);
}

/// Asserts what is said of the checkpoint where nobody has named its volumes.
pub fn assert_unknown(checkpoint: &str) {
    let plan = Host::call_premount(&["plan", "--checkpoint", checkpoint]);
    assert_eq!((plan.status, plan.stderr.as_str()), (0, ""), "{plan:?}");
    let ended = Host::call_premount(&["check", "--checkpoint", checkpoint]);
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""), "{ended:?}");
    let said = &ended.stdout;
    for needed in NEEDED {
        assert!(
            said.contains(needed) && plan.stdout.contains(needed),
            "{needed}: {said}"
        );
    }
    assert!(
        said.contains("It is unknown whether this checkpoint can be restored here"),
        "{said}"
    );
    assert!(
        said.contains("nothing says what will be at /data"),
        "{said}"
    );
}

fn set_mode(path: &PathBuf, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
