// SPDX-License-Identifier: Apache-2.0
//! A node as CRI-O has it: a container's directories, configuration, namespaces and rootfs, under the
//! names of the capture, and the calls of conmon and the runtime that CRI-O makes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::counter;
use crate::enter::{CGROUP, PREMOUNT};
use crate::host::{Host, Runtime, Trigger, tool};

/// The configuration that CRI-O wrote for the restored container.
const CONFIG: &str = include_str!("../fixtures/crio-1.36-runc/config.json");
/// The names in it.
const CONTAINER: &str = "4daf77221ad426c5fbfa6ab5d70553de43876c2acb5e3381659e2920135310ec";
const SANDBOX: &str = "6bfe9fe6398444188643b09ddec090544d4ba8326a63e949155f843856003256";
const LAYER: &str = "21814e2b08a63f29c0eb961390cd60b31c108dc34ddaf9f1b7720b2ecc975bd0";
const NAMESPACES: &str = "8622f1d8-f81e-4b10-8b8c-4accd811b68c";

const STORAGE: &str = "/var/lib/containers/storage";
const RUN_STORAGE: &str = "/run/containers/storage";
const IMAGE: &str = "/var/lib/containers/storage/overlay/image/diff";
/// The volume that another one lies in.
pub const DATA: &str = "/srv/volumes/data";

/// A container in a sandbox of its own, with the capture's configuration under other names.
pub struct CrioContainer {
    pub runtime: Runtime,
    /// `read_only` of crio.conf, with which CRI-O 1.36.3 starts a container and refuses to restore it.
    pub read_only: bool,
    /// What tells its names from those of the others.
    pub number: u32,
}

impl CrioContainer {
    /// One of the names in the configuration, as this container has it.
    fn named(&self, name: &str) -> String {
        format!("{}{}", self.number, &name[1..])
    }

    fn id(&self) -> String {
        self.named(CONTAINER)
    }

    fn bundle(&self) -> PathBuf {
        format!("{RUN_STORAGE}/overlay-containers/{}/userdata", self.id()).into()
    }

    pub fn directory(&self) -> PathBuf {
        format!("{STORAGE}/overlay-containers/{}/userdata", self.id()).into()
    }

    pub fn secrets(&self) -> PathBuf {
        self.bundle().join("run/secrets")
    }

    /// The capture's configuration, with this container's names and a process that counts.
    fn config(&self, trigger: Trigger) -> Value {
        let mut text = CONFIG.to_owned();
        for name in [CONTAINER, SANDBOX, LAYER, NAMESPACES] {
            text = text.replace(name, &self.named(name));
        }
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["process"]["args"] = json!(["/bin/sh", "-c", counter::SCRIPT]);
        config["process"]["env"] = json!(["PATH=/bin"]);
        let cgroup = std::env::var(CGROUP).expect("the cgroup's name");
        config["linux"]["cgroupsPath"] = json!(format!("/{cgroup}-{}", self.number));
        // The hybrid hierarchies of some hosts have no controllers to give.
        config["linux"].as_object_mut().unwrap().remove("resources");
        // The capture's request had none of these; that of the kubelet has them.
        config["linux"]["maskedPaths"] = json!([
            "/proc/asound",
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/sys/firmware"
        ]);
        config["linux"]["readonlyPaths"] = json!([
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger"
        ]);
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/count", "type": "bind", "source": counter::VOLUME,
            "options": ["rbind", "rprivate", "rw", "bind"]
        }));
        if self.read_only {
            config["root"]["readonly"] = json!(true);
            let mounts = config["mounts"].as_array_mut().unwrap();
            for (at, mode) in [("/run", "0755"), ("/tmp", "1777"), ("/var/tmp", "1777")] {
                let mode = format!("mode={mode}");
                // Before all binds, as CRI-O orders them.
                mounts.insert(
                    6,
                    json!({"destination": at, "type": "tmpfs", "source": "tmpfs",
                           "options": ["rw", "noexec", "nosuid", "nodev", "tmpcopyup", mode]}),
                );
            }
        }
        if trigger != Trigger::Hook {
            config.as_object_mut().unwrap().remove("hooks");
            let annotations = config["annotations"].as_object_mut().unwrap();
            annotations.remove("io.premount.restore");
        }
        config
    }

    /// Makes what CRI-O makes for a container: its sandbox's files and namespaces, a new rootfs of the
    /// image, empty secrets, and the configuration in both of its directories.
    pub fn make(&self, trigger: Trigger) {
        let sandbox = format!("{RUN_STORAGE}/overlay-containers/{}", self.named(SANDBOX));
        let sandbox = Path::new(&sandbox).join("userdata");
        let layer = Path::new(STORAGE).join("overlay").join(self.named(LAYER));
        for directory in [
            sandbox.join("shm"),
            layer.join("diff"),
            layer.join("work"),
            layer.join("merged"),
            self.secrets(),
            self.directory(),
            "/run/ipcns".into(),
            "/run/utsns".into(),
        ] {
            fs::create_dir_all(directory).unwrap();
        }
        for file in ["resolv.conf", "hostname", ".containerenv"] {
            fs::write(sandbox.join(file), "").unwrap();
        }
        let shm = sandbox.join("shm");
        tool("mount", &["-t", "tmpfs", "shm", shm.to_str().unwrap()]);
        for (namespace, directory) in [("--ipc", "/run/ipcns"), ("--uts", "/run/utsns")] {
            let file = Path::new(directory).join(self.named(NAMESPACES));
            fs::write(&file, "").unwrap();
            tool(
                "unshare",
                &[&format!("{namespace}={}", file.display()), "true"],
            );
        }
        let options = format!(
            "lowerdir={IMAGE},upperdir={0}/diff,workdir={0}/work",
            layer.display()
        );
        let merged = layer.join("merged");
        let merged = merged.to_str().unwrap();
        tool(
            "mount",
            &["-t", "overlay", "-o", &options, "overlay", merged],
        );
        for directory in [self.bundle(), self.directory()] {
            let config = self.config(trigger).to_string();
            fs::write(directory.join("config.json"), config).unwrap();
        }
    }

    pub fn runtime(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(self.runtime.name())
            .arg(format!("--root={}", self.runtime_root()))
            .args(arguments)
            .arg(self.id())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8(output.stderr).unwrap())
    }

    fn runtime_root(&self) -> String {
        format!("/run/{}", self.runtime.name())
    }

    /// Starts conmon as CRI-O does. Gives what it reports: the process, or why there is none.
    fn conmon(&self, more: &[&str]) -> Result<String, String> {
        let (bundle, directory) = (self.bundle(), self.directory());
        let pid_file = bundle.join("pidfile");
        let sync = bundle.join("sync");
        let logs = Path::new("/var/log/crio/pods").join(self.named(SANDBOX));
        fs::create_dir_all(&logs).unwrap();
        fs::create_dir_all("/run/crio/exits").unwrap();
        let status = Command::new("/bin/sh")
            .args(["-c", "sync=$1; shift; exec conmon \"$@\" 3>\"$sync\"", "sh"])
            .arg(&sync)
            .arg("-b")
            .arg(&bundle)
            .args(["-c", &self.id(), "--exit-dir", "/run/crio/exits", "-l"])
            .arg(logs.join(format!("{}.log", self.id())))
            .args([
                "--log-level",
                "info",
                "-n",
                "k8s_c2_p2_default_p2-uid_0",
                "-P",
            ])
            .arg(bundle.join("conmon-pidfile"))
            .arg("-p")
            .arg(&pid_file)
            .arg("--persist-dir")
            .arg(&directory)
            .args(["-r", &format!("/usr/bin/{}", self.runtime.name())])
            .args(["--runtime-arg", &format!("--root={}", self.runtime_root())])
            .args([
                "--socket-dir-path",
                "/run/crio",
                "--syslog",
                "-u",
                &self.id(),
            ])
            .args(more)
            .current_dir(&bundle)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("CRI_O_EXTERNAL", "1")
            .env("_OCI_SYNCPIPE", "3")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "conmon: {status}");
        let report = counter::wait_for("conmon reports nothing", || {
            let report = fs::read_to_string(&sync).ok()?;
            serde_json::from_str::<Value>(&report).ok()
        });
        fs::remove_file(&sync).unwrap();
        if report["pid"].as_i64().unwrap() > 0 {
            return Ok(report["pid"].to_string());
        }
        Err(report.to_string())
    }

    pub fn create(&self) -> Result<String, String> {
        self.conmon(&[])
    }

    /// Restores it from the images in its directory. The error is what was reported, and CRIU's log.
    pub fn restore(&self) -> Result<String, String> {
        let images = self.directory().join("checkpoint");
        self.conmon(&["--restore", images.to_str().unwrap()])
            .map_err(|said| format!("{said}\n{}", self.log()))
    }

    /// Checkpoints it into its directory. It runs on, as it does when Kubernetes asks for it.
    pub fn checkpoint(&self) -> Result<String, String> {
        let images = self.directory().join("checkpoint");
        let (images, work) = (images.to_str().unwrap(), self.directory());
        self.runtime(&[
            "checkpoint",
            "--file-locks",
            "--image-path",
            images,
            "--work-path",
            work.to_str().unwrap(),
            "--leave-running",
        ])
    }

    pub fn delete(&self) {
        let _ = self.runtime(&["delete", "--force"]);
    }

    pub fn log(&self) -> String {
        let log = self.bundle().join("restore.log");
        let log = fs::read_to_string(log).unwrap_or_default();
        let telling = |line: &&str| line.contains("Error") || line.contains("premount");
        log.lines().filter(telling).collect::<Vec<_>>().join("\n")
    }
}

/// An image whose /var/run is a link to /run, as most are, or else a directory.
pub fn make_image(var_run_is_a_link: bool) {
    // The rootfs is an overlay, which can't lie in the overlay that all of this is in.
    for directory in [STORAGE, "/etc/criu"] {
        fs::create_dir_all(directory).unwrap();
    }
    tool("mount", &["-t", "tmpfs", "storage", STORAGE]);
    let image = Path::new(IMAGE);
    Host::add_programs(image);
    for directory in ["dev", "etc", "proc", "run", "sys", "tmp", "var"] {
        fs::create_dir_all(image.join(directory)).unwrap();
    }
    if var_run_is_a_link {
        symlink("/run", image.join("var/run")).unwrap();
    } else {
        fs::create_dir(image.join("var/run")).unwrap();
    }
}

/// Makes the volumes of the capture, or new ones.
pub fn new_volumes() {
    let _ = fs::remove_dir_all("/srv/volumes");
    for directory in [DATA, "/srv/volumes/nested", "/srv/volumes/token"] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write("/srv/volumes/hosts", "").unwrap();
    fs::write("/srv/volumes/token/token", "a token").unwrap();
}

/// Writes the runtime's CRIU configuration for a trigger.
pub fn write_criu_config(runtime: Runtime, trigger: Trigger) {
    let line = match trigger {
        Trigger::Action => format!("action-script {PREMOUNT}\n"),
        Trigger::None | Trigger::Hook | Trigger::Hand => String::new(),
    };
    let file = format!("/etc/criu/{}.conf", runtime.name());
    fs::write(file, format!("manage-cgroups=ignore\n{line}")).unwrap();
}
