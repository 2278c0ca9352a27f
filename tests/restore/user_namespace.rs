// SPDX-License-Identifier: Apache-2.0
//! In a user namespace the container's root has no power over what its namespace has no number for:
//! premount makes in a source what that root could make there itself, and no more. A runtime's first
//! start makes no more either; some open each directory to read it, and make less.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::Test;
use crate::common::soak;
use crate::enter::Root;
use crate::host::{BUNDLE, Host, InodeSnapshot, Runtime, SOURCES, Trigger, rootfs, snapshot, tool};

/// Random sources for each runtime; as many times that in `make soak`.
const CASES: u64 = 24;
/// The first user and group of the namespace, and how many it has of each.
const FIRST: u32 = 100_000;
const SIZE: u32 = 65_536;

/// The tests of user namespaces.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let name = format!(
                "{}::user_namespace::makes_what_its_root_could_make",
                runtime.name()
            );
            tests.push(Test::new(root, &name, move || {
                compare(Host::new(root, runtime));
            }));
        }
    }
    tests
}

/// A directory of a source: whose it is, and what its mode says.
#[derive(Clone, Copy, Debug)]
struct Directory {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Directory {
    /// By a number, of which each digit chooses.
    fn random(number: &mut u64) -> Self {
        let mut one_of = |count: usize| {
            // A linear congruential generator's upper bits.
            *number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(*number >> 33).unwrap() % count
        };
        let ids = [0, FIRST, FIRST + 4711, FIRST + SIZE - 1, FIRST + SIZE, 4711];
        let modes = [
            0o755, 0o700, 0o777, 0o775, 0o711, 0o1777, 0o500, 0o000, 0o770, 0o757,
        ];
        Self {
            uid: ids[one_of(ids.len())],
            gid: ids[one_of(ids.len())],
            mode: modes[one_of(modes.len())],
        }
    }

    fn apply_to(self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(self.mode)).unwrap();
    }
}

fn source() -> PathBuf {
    Path::new(SOURCES).join("source")
}

fn new_source(outer: Directory, inner: Directory) {
    let _ = fs::remove_dir_all(source());
    fs::create_dir_all(source().join("inner")).unwrap();
    inner.apply_to(&source().join("inner"));
    outer.apply_to(&source());
}

/// Gives the configuration a user namespace.
fn map() {
    let file = Path::new(BUNDLE).join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let map = json!([{"containerID": 0, "hostID": FIRST, "size": SIZE}]);
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    fs::write(file, config.to_string()).unwrap();
}

/// What the container's root makes by itself.
fn make_as_root() -> bool {
    let map = format!("0:{FIRST}:{SIZE}");
    let status = Command::new("setpriv")
        .args(["--clear-groups", "unshare", "--user"])
        .arg(format!("--map-users={map}"))
        .arg(format!("--map-groups={map}"))
        .args(["--setuid", "0", "--setgid", "0", "mkdir", "-p"])
        .arg(source().join("inner/made/deep"))
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}

fn made() -> BTreeMap<PathBuf, (u32, u32)> {
    let owners = |inode: &InodeSnapshot| (inode.uid, inode.gid);
    let all = snapshot(&source());
    all.iter()
        .map(|(path, inode)| (path.clone(), owners(inode)))
        .collect()
}

fn compare(mut host: Host) {
    let owner = format!("{FIRST}:{FIRST}");
    tool("chown", &["-R", &owner, rootfs().to_str().unwrap()]);
    host.set_mounts(vec![
        json!({"destination": "/data", "type": "bind", "source": source(), "options": ["bind"]}),
        json!({"destination": "/data/inner/made/deep", "type": "tmpfs", "source": "tmpfs"}),
    ]);
    host.write_config(Trigger::None);
    map();
    let (mut cases, mut refused, mut first_starts) = (0, 0, 0);
    let mut number = 0x70_7265_6d6f_756e;
    for _ in 0..CASES * u64::from(soak()) {
        let (outer, inner) = (
            Directory::random(&mut number),
            Directory::random(&mut number),
        );
        let about = format!("{outer:?} {inner:?}");
        new_source(outer, inner);
        let started = host.create();
        let by_runtime = made();
        host.delete();

        new_source(outer, inner);
        let could = make_as_root();
        let by_root = made();
        new_source(outer, inner);
        let ended = Host::call_premount(&["apply", "--bundle", BUNDLE]);
        assert_eq!(made(), by_root, "{about}: {ended:?}");
        assert_eq!(ended.status == 0, could, "{about}: {ended:?}");
        assert!(
            could || started.is_err(),
            "{about}: the runtime could do what its container's root can't"
        );
        if started.is_ok() {
            assert_eq!(by_runtime, by_root, "{about}");
            first_starts += 1;
        }
        if !could {
            assert!(ended.stderr.contains("(EACCES)"), "{about}: {ended:?}");
            refused += 1;
        }
        cases += 1;
    }
    assert!(refused > 0 && first_starts > 0, "{refused} {first_starts}");
    println!("{cases} sources of a user namespace, {refused} refused, {first_starts} first starts");
}
