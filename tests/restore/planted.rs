// SPDX-License-Identifier: Apache-2.0
//! A restore by CRIU alone, of a process that is no container, where another user has put a
//! configuration in the way: premount makes nothing for it, and the restore goes on.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::Test;
use crate::enter::{PREMOUNT, Root};

const SHARED: &str = "/tmp/shared";
const VICTIM: &str = "/run/victim";

/// The tests of planted configurations.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for (name, cwd) in [
            ("a_configuration_beside_the_images", "/"),
            ("a_configuration_in_the_current_directory", SHARED),
        ] {
            let name = format!("planted::{name}");
            tests.push(Test::new(root, &name, move || planted(Path::new(cwd))));
        }
    }
    tests
}

fn criu(arguments: &[&str], cwd: &Path) -> Result<String, String> {
    let output = Command::new("criu")
        .args(arguments)
        .current_dir(cwd)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(said)
    }
}

fn planted(cwd: &Path) {
    fs::create_dir_all(SHARED).unwrap();
    fs::set_permissions(SHARED, PermissionsExt::from_mode(0o1777)).unwrap();
    fs::create_dir_all(VICTIM).unwrap();
    let images = Path::new(SHARED).join("ck");
    fs::create_dir(&images).unwrap();
    fs::set_permissions(&images, PermissionsExt::from_mode(0o700)).unwrap();

    let mut process = Command::new("setsid")
        .args(["sleep", "1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = process.id().to_string();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let directory = images.to_str().unwrap();
    criu(
        &[
            "dump",
            "-t",
            &pid,
            "-D",
            directory,
            "--manage-cgroups=ignore",
        ],
        Path::new("/"),
    )
    .unwrap_or_else(|said| panic!("the dump: {said}"));
    process.wait().unwrap();

    // By another user: a file in a directory of the host's, as that user's own; and a source that is
    // missing, which must not keep anything from being restored.
    let bait = Path::new(SHARED).join("bait");
    fs::write(&bait, "").unwrap();
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let config = json!({
        "ociVersion": "1.0.2",
        "root": {"path": SHARED},
        "mounts": [
            {"destination": "/x", "type": "bind", "source": VICTIM, "options": ["bind"]},
            {"destination": "/x/profile.d/pwn.sh", "type": "bind", "source": bait,
             "options": ["bind"]},
            {"destination": "/y", "type": "bind", "source": "/nowhere", "options": ["bind"]},
        ],
        "linux": {"uidMappings": map, "gidMappings": map},
    });
    let file = Path::new(SHARED).join("config.json");
    fs::write(&file, config.to_string()).unwrap();
    chown(&file, Some(1000), Some(1000)).unwrap();
    fs::create_dir_all("/etc/criu").unwrap();
    fs::write(
        "/etc/criu/default.conf",
        format!("action-script {PREMOUNT}\n"),
    )
    .unwrap();

    let restore = [
        "restore",
        "-D",
        directory,
        "--restore-detached",
        "--manage-cgroups=ignore",
        "-v4",
        "--log-file",
        "restore.log",
    ];
    let restored = criu(&restore, cwd);
    let log = fs::read_to_string(images.join("restore.log")).unwrap_or_default();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("premount"))
        .collect();
    restored.unwrap_or_else(|error| panic!("the restore: {error} {said:?}"));
    assert!(
        log.contains("can't be trusted") || log.contains("no OCI configuration found"),
        "premount was not called: {said:?}"
    );
    let made: Vec<PathBuf> = fs::read_dir(VICTIM)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(made.is_empty(), "{made:?}");
    assert!(!Path::new(SHARED).join("x").exists());
    let _ = Command::new("kill").args(["-9", &pid]).status();
}
