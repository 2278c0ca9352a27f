// SPDX-License-Identifier: Apache-2.0
//! What premount's cost is measured on: a Kubernetes pod as CRI-O has it, and many mounts.
#![allow(clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::mount_image::{checkpoint, container, entry};
use super::{World, file_image};

/// The configuration and the state of a real restore by CRI-O, in this world: its host paths lie
/// elsewhere.
pub fn capture(world: &World) -> (Value, Value) {
    let read = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(fixture().join(name)).unwrap()).unwrap()
    };
    let (mut config, mut state) = (read("config.json"), read("state.json"));
    config["root"]["path"] = json!(world.path("bundle/rootfs"));
    for mount in config["mounts"].as_array_mut().unwrap() {
        let source = mount["source"].as_str().unwrap().to_owned();
        if source.starts_with('/') {
            let here = format!("host{source}");
            match source.rsplit('/').next().unwrap() {
                "resolv.conf" | "hostname" | "hosts" | ".containerenv" => {
                    world.directory(here.rsplit_once('/').unwrap().0);
                    world.file(&here);
                }
                _ => drop(world.directory(&here)),
            }
            mount["source"] = json!(world.path(&here));
        }
    }
    state["bundle"] = json!(world.bundle());
    for made in [
        "dev",
        "etc",
        "proc",
        "run",
        "run/secrets",
        "sys",
        "var",
        "data",
    ] {
        world.directory(&format!("bundle/rootfs/{made}"));
    }
    world.link("bundle/rootfs/var/run", "/run");
    (config, state)
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crio-1.36-runc")
}

/// A container to restore, and what premount has to make for it.
pub struct CostInput {
    pub world: World,
    /// What is removed to have it made again.
    made: Vec<PathBuf>,
}

impl CostInput {
    /// A container of 18 mounts with 30 KB of configuration: the capture, whose container ran without
    /// a seccomp profile, with one of the usual size, and with three mounts that the kubelet adds to
    /// most containers. Four directories are missing: those that CRI-O's fresh tmpfs for `/run/secrets`
    /// and a new volume have not.
    pub fn pod() -> Self {
        let world = World::new();
        let (mut config, state) = capture(&world);
        let mounts = config["mounts"].as_array_mut().unwrap();
        for (destination, source) in [
            ("/dev/termination-log", "host/termination-log"),
            ("/etc/app", "host/configmap"),
            ("/var/cache/app", "host/emptydir"),
        ] {
            let source = match source {
                "host/termination-log" => world.file(source),
                _ => world.directory(source),
            };
            mounts.push(
                json!({"destination": destination, "type": "bind", "source": source,
                               "options": ["rbind", "rprivate", "rw", "bind"]}),
            );
        }
        assert_eq!(mounts.len(), 18);
        config["linux"]["seccomp"] = seccomp();
        world.write_config(&config);
        let size = config.to_string().len();
        assert!((29_000..31_000).contains(&size), "{size} bytes");
        fs::write(world.path("state.json"), state.to_string()).unwrap();
        // The checkpoint lies where CRI-O and Podman have it.
        let images = world.directory("bundle/checkpoint");
        let name = "mountpoints-12.img";
        fs::copy(fixture().join(name), images.join(name)).unwrap();
        for number in 1..40 {
            fs::write(images.join(format!("core-{number}.img")), "").unwrap();
        }
        let mounts = fs::read(images.join(name)).unwrap();
        fs::write(images.join("files.img"), open_files(&world, &mounts)).unwrap();
        let volumes = world.path("host/srv/volumes");
        let secrets = mounts_source(&config, "/run/secrets");
        Self {
            made: vec![
                volumes.join("data/nested"),
                Path::new(&secrets).join("kubernetes.io"),
            ],
            world,
        }
        .ready()
    }

    /// A volume, and `count` binds nested in it, a hundred to a directory; none of them is there.
    pub fn nested(count: usize) -> Self {
        let world = World::new();
        world.directory("vol");
        let mut mounts = vec![bind("/data", &world.path("vol"))];
        for number in 0..count {
            let source = world.directory(&format!("sources/{number}"));
            let at = format!("/data/g{}/m{}", number / 100, number % 100);
            mounts.push(bind(&at, &source));
        }
        let groups = 0..count.div_ceil(100);
        let made = groups.map(|group| world.path(&format!("vol/g{group}")));
        Self {
            made: made.collect(),
            world,
        }
        .with(&mounts)
    }

    /// A mount 64 components below a volume.
    pub fn deep() -> Self {
        let world = World::new();
        world.directory("vol");
        let source = world.directory("source");
        let at = format!("/data{}", "/component".repeat(63));
        let mounts = [bind("/data", &world.path("vol")), bind(&at, &source)];
        Self {
            made: vec![world.path("vol/component")],
            world,
        }
        .with(&mounts)
    }

    /// A mount in a volume that has 5,000 entries already.
    pub fn crowded() -> Self {
        let world = World::new();
        for number in 0..5000 {
            world.directory(&format!("vol/entry-{number}"));
        }
        let source = world.directory("source");
        let at = "/data/nested/directory";
        let mounts = [bind("/data", &world.path("vol")), bind(at, &source)];
        Self {
            made: vec![world.path("vol/nested")],
            world,
        }
        .with(&mounts)
    }

    /// A volume in which the workload itself has mounted `count` file systems, as its checkpoint says.
    pub fn workload(count: u32) -> Self {
        let world = World::new();
        world.directory("vol");
        let mut entries = container();
        for number in 0..count {
            let at = format!("/data/g{}/m{}", number / 100, number % 100);
            entries.push(entry(10 + number, 2, 10 + number, "/", &at));
        }
        checkpoint(&world, &entries);
        let groups = 0..count.div_ceil(100);
        let made = groups.map(|group| world.path(&format!("vol/g{group}")));
        let mounts = [bind("/data", &world.path("vol"))];
        Self {
            made: made.collect(),
            world,
        }
        .with(&mounts)
    }

    fn with(self, mounts: &[Value]) -> Self {
        let mut config = self.world.config();
        config["mounts"] = json!(mounts);
        self.world.write_config(&config);
        fs::write(self.world.path("state.json"), self.world.state()).unwrap();
        self.ready()
    }

    /// Makes once what is missing in the rootfs too: with a container that ran it is there.
    fn ready(self) -> Self {
        let bundle = self.world.bundle();
        let applied = super::premount(&["apply", "--bundle", &bundle], b"", &[]);
        assert_eq!(applied.status, 0, "{applied:?}");
        self.remove_made();
        self
    }

    /// The image directory of the checkpoint.
    pub fn images(&self) -> PathBuf {
        self.world.path("bundle/checkpoint")
    }

    /// Makes the host's side as it is before premount.
    pub fn remove_made(&self) {
        for path in &self.made {
            let _ = fs::remove_dir_all(path);
        }
    }

    /// What there is of what has to be made.
    pub fn found(&self) -> Vec<String> {
        let all = self.world.tree("");
        let below = |path: &&PathBuf, line: &str| self.world.path(&line[2..]).starts_with(path);
        let made = |line: &String| self.made.iter().any(|path| below(&path, line));
        all.into_iter().filter(made).collect()
    }
}

fn bind(destination: &str, source: &Path) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind"]})
}

/// What a pod's tasks hold open: libraries, devices, the root, a directory and a log in the volume /data, a
/// socket.
fn open_files(world: &World, mounts: &[u8]) -> Vec<u8> {
    let namespace = premount::internals::parse(mounts, Path::new("mountpoints-12.img")).unwrap();
    let id = i32::try_from(namespace.mounts[0].id).unwrap();
    let mut files = Vec::new();
    for number in 1..60 {
        let path = format!("/usr/lib/x86_64-linux-gnu/library-{number}.so.1.2.{number}");
        files.push(file_image::open(number, &path, 0o100_755, Some(100_000)));
    }
    files.push(file_image::open(60, "/dev/null", 0o20_666, None));
    files.push(file_image::directory(61, "/", 0o755));
    files.push(file_image::directory(62, "/data/app", 0o755));
    files.push(file_image::open(63, "/data/app/log", 0o100_640, None));
    files.push(file_image::socket(64, "/run/app/socket"));
    if let Some(log) = files.get_mut(62).and_then(|log| log.reg.as_mut()) {
        log.flags = 0o2001; // O_WRONLY | O_APPEND
    }
    for file in &mut files {
        if let Some(file) = &mut file.reg {
            file.mnt_id = Some(id);
        }
        if let Some(socket) = &mut file.usk {
            socket.mnt_id = Some(id);
        }
    }
    world.directory("host/srv/volumes/data/app");
    world.file("host/srv/volumes/data/app/log");
    world.directory("bundle/rootfs/run/app");
    file_image::image(file_image::FILES, &files)
}

fn mounts_source(config: &Value, destination: &str) -> String {
    let mounts = config["mounts"].as_array().unwrap();
    let mount = mounts
        .iter()
        .find(|mount| mount["destination"] == destination);
    mount.unwrap()["source"].as_str().unwrap().to_owned()
}

/// A seccomp profile of the shape and size of an engine's default: the names of what is allowed, and
/// some calls with conditions.
fn seccomp() -> Value {
    let names: Vec<String> = (0..400)
        .map(|number| format!("system_call_{number:03}"))
        .collect();
    let conditional: Vec<Value> = (0..125)
        .map(|number| {
            json!({"names": [format!("system_call_{number:03}")], "action": "SCMP_ACT_ALLOW",
                   "args": [{"index": 1, "value": number, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]})
        })
        .collect();
    let mut syscalls = vec![json!({"names": names, "action": "SCMP_ACT_ALLOW"})];
    syscalls.extend(conditional);
    json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
           "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
           "syscalls": syscalls})
}
