// SPDX-License-Identifier: Apache-2.0
//! What CRIU opens by path in a volume: working directories, open directories, sockets' directories, FIFOs,
//! empty files. Each restore into a new volume fails without premount, and succeeds with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Test;
use crate::enter::Root;
use crate::holder;
use crate::host::{Host, InodeSnapshot, Runtime, SOURCES, Trigger, rootfs, snapshot, tool};

/// A container whose tasks hold something in its volume /data.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    runtimes: &'static [Runtime],
    /// `process.cwd`.
    cwd: &'static str,
    /// What each holder does.
    holders: &'static [&'static [&'static str]],
    /// `process.cwd` at the restore, where that is another: CRI-O's is always the root.
    restored_cwd: Option<&'static str>,
    /// The first ID of the user namespace on the host; 0 without one.
    first_id: u32,
    /// Where a tmpfs is mounted by the configuration.
    tmpfs: Option<&'static str>,
    /// Where another volume is mounted.
    nested: Option<&'static str>,
    /// What premount has to make in that.
    made_nested: &'static [(&'static str, u32, u32)],
    /// A link in the new volume, with its text, that is in the way: premount makes nothing, and CRIU fails.
    link: Option<(&'static str, &'static str)>,
    /// Whether the volume is on a tmpfs, as CRIU needs it for a watch; else it is on overlayfs.
    is_on_a_tmpfs: bool,
    /// What CRIU says without premount; nothing if it restores.
    says: &'static str,
    /// What premount has to make: path, mode, owner.
    made: &'static [(&'static str, u32, u32)],
    /// The directories that the volume has already.
    there: &'static [&'static str],
}

const BOTH: &[Runtime] = &[Runtime::Runc, Runtime::Crun];
const DIRECTORY: u32 = 0o40_000;
const FIFO: u32 = 0o10_000;
const FILE: u32 = 0o100_000;

const NOTHING: Case = Case {
    name: "",
    runtimes: BOTH,
    cwd: "/",
    holders: &[],
    restored_cwd: None,
    first_id: 0,
    tmpfs: None,
    nested: None,
    made_nested: &[],
    link: None,
    is_on_a_tmpfs: false,
    says: "Can't open file",
    made: &[],
    there: &[],
};

const CASES: &[Case] = &[
    Case {
        name: "the_working_directory_of_the_configuration",
        cwd: "/data/app/deep",
        made: &[
            ("app", DIRECTORY | 0o755, 0),
            ("app/deep", DIRECTORY | 0o755, 0),
        ],
        ..NOTHING
    },
    Case {
        name: "a_working_directory_of_its_own",
        holders: &[&["mkdir:/data/own/deep:1700", "cd:/data/own/deep"]],
        made: &[
            ("own", DIRECTORY | 0o755, 0),
            ("own/deep", DIRECTORY | 0o1700, 0),
        ],
        ..NOTHING
    },
    Case {
        name: "an_open_directory",
        holders: &[&["mkdir:/data/x/y:750", "open:/data/x/y"]],
        made: &[("x", DIRECTORY | 0o755, 0), ("x/y", DIRECTORY | 0o750, 0)],
        ..NOTHING
    },
    Case {
        name: "a_root_of_its_own",
        holders: &[&[
            "mkdir:/data/jail:711",
            "ready:/ready0",
            "chroot:/data/jail",
            "cd:/",
        ]],
        made: &[("jail", DIRECTORY | 0o711, 0)],
        ..NOTHING
    },
    Case {
        name: "a_watch",
        is_on_a_tmpfs: true,
        holders: &[&["mkdir:/data/x/y:755", "watch:/data/x/y"]],
        says: "Unable to open /data/x/y",
        made: &[("x", DIRECTORY | 0o755, 0), ("x/y", DIRECTORY | 0o755, 0)],
        ..NOTHING
    },
    Case {
        name: "a_mark",
        is_on_a_tmpfs: true,
        holders: &[&["mkdir:/data/x/y:755", "mark:/data/x/y"]],
        says: "Unable to open /data/x/y",
        made: &[("x", DIRECTORY | 0o755, 0), ("x/y", DIRECTORY | 0o755, 0)],
        ..NOTHING
    },
    Case {
        name: "a_working_directory_that_only_the_checkpoint_has",
        cwd: "/data/app/deep",
        restored_cwd: Some("/"),
        made: &[
            ("app", DIRECTORY | 0o755, 0),
            ("app/deep", DIRECTORY | 0o755, 0),
        ],
        ..NOTHING
    },
    Case {
        name: "a_bind_in_between",
        nested: Some("/data/in/between"),
        holders: &[&["mkdir:/data/in/between/x:700", "cd:/data/in/between/x"]],
        made: &[
            ("in", DIRECTORY | 0o755, 0),
            ("in/between", DIRECTORY | 0o755, 0),
        ],
        made_nested: &[("x", DIRECTORY | 0o700, 0)],
        ..NOTHING
    },
    Case {
        name: "a_link_in_the_way",
        holders: &[&["mkdir:/data/x/y:755", "cd:/data/x/y"]],
        link: Some(("x", "/elsewhere")),
        ..NOTHING
    },
    Case {
        // CRIU finds no root for the devices that crun binds.
        name: "in_a_user_namespace",
        runtimes: &[Runtime::Runc],
        first_id: 100_000,
        cwd: "/data/app",
        holders: &[&[
            "mkdir:/data/x/y:700",
            "cd:/data/x/y",
            "fifo:/data/x/f:600",
            "empty:/data/x/e:640",
        ]],
        made: &[
            ("app", DIRECTORY | 0o755, 100_000),
            ("x", DIRECTORY | 0o755, 100_000),
            ("x/y", DIRECTORY | 0o700, 100_000),
            ("x/f", FIFO | 0o600, 100_000),
            ("x/e", FILE | 0o640, 100_000),
        ],
        ..NOTHING
    },
    Case {
        name: "sockets",
        holders: &[&[
            "mkdir:/data/x/y:755",
            "listen:/data/x/y/it",
            "mkdir:/data/z:755",
            "datagram:/data/z/d",
        ]],
        says: "Can't bind id",
        made: &[
            ("x", DIRECTORY | 0o755, 0),
            ("x/y", DIRECTORY | 0o755, 0),
            ("z", DIRECTORY | 0o755, 0),
        ],
        ..NOTHING
    },
    Case {
        name: "a_fifo",
        holders: &[&["mkdir:/data/x:755", "fifo:/data/x/f:640"]],
        says: "Can't open fake fifo",
        made: &[("x", DIRECTORY | 0o755, 0), ("x/f", FIFO | 0o640, 0)],
        ..NOTHING
    },
    Case {
        name: "an_empty_file",
        holders: &[&["mkdir:/data/x:755", "empty:/data/x/f:600"]],
        made: &[("x", DIRECTORY | 0o755, 0), ("x/f", FILE | 0o600, 0)],
        ..NOTHING
    },
    Case {
        name: "the_parent_of_a_mountpoint",
        cwd: "/data/a",
        tmpfs: Some("/data/a/b"),
        made: &[("a", DIRECTORY | 0o755, 0), ("a/b", DIRECTORY | 0o755, 0)],
        runtimes: &[Runtime::Runc],
        // runc makes both itself.
        says: "",
        ..NOTHING
    },
    Case {
        // crun makes parents 01755.
        name: "the_parent_of_a_mountpoint",
        cwd: "/data/a",
        tmpfs: Some("/data/a/b"),
        made: &[("a", DIRECTORY | 0o1755, 0), ("a/b", DIRECTORY | 0o755, 0)],
        runtimes: &[Runtime::Crun],
        ..NOTHING
    },
    Case {
        name: "a_task_of_another_user",
        holders: &[
            &[
                "mkdir:/data/of:777",
                "user:1000:1001",
                "mkdir:/data/of/it:700",
                "cd:/data/of/it",
                "empty:/data/of/it/e:600",
            ],
            // It keeps what the other one made.
            &[
                "mkdir:/data/of/root:711",
                "open:/data/of/root",
                "open:/data/of",
            ],
        ],
        made: &[
            ("of", DIRECTORY | 0o777, 0),
            ("of/it", DIRECTORY | 0o700, 1000),
            ("of/it/e", FILE | 0o600, 1000),
            ("of/root", DIRECTORY | 0o711, 0),
        ],
        ..NOTHING
    },
    Case {
        // It was made by root, and the volume is root's: so it is again.
        name: "a_task_that_has_given_up_root",
        holders: &[&["mkdir:/data/x/y:755", "user:1000:1000", "cd:/data/x/y"]],
        made: &[("x", DIRECTORY | 0o755, 0), ("x/y", DIRECTORY | 0o755, 0)],
        ..NOTHING
    },
    Case {
        name: "what_is_there_stays",
        holders: &[&["mkdir:/data/there/x:755", "cd:/data/there/x"]],
        there: &["there"],
        made: &[("there/x", DIRECTORY | 0o755, 0)],
        ..NOTHING
    },
];

/// The tests of open files.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for case in CASES {
            for &runtime in case.runtimes {
                for &trigger in runtime.triggers() {
                    let name = format!(
                        "{}::{}::open_files::{}",
                        runtime.name(),
                        trigger.name(),
                        case.name
                    );
                    tests.push(Test::new(root, &name, move || {
                        restore(case, Host::new(root, runtime), trigger);
                    }));
                }
            }
        }
    }
    tests
}

fn volume() -> PathBuf {
    Path::new(SOURCES).join("volume")
}

/// The source of the other volume.
fn nested() -> PathBuf {
    Path::new(SOURCES).join("nested")
}

fn new_volume(case: &Case) {
    let _ = fs::remove_dir_all(volume());
    fs::create_dir_all(volume()).unwrap();
    fs::write(volume().join("kept"), "kept").unwrap();
    for path in case.there {
        fs::create_dir_all(volume().join(path)).unwrap();
    }
    let _ = fs::remove_dir_all(nested());
    fs::create_dir(nested()).unwrap();
    for source in [volume(), nested()] {
        std::os::unix::fs::chown(source, Some(case.first_id), Some(case.first_id)).unwrap();
    }
}

/// The script that starts all holders, and waits until they have done what they do.
pub fn script(holders: &[impl AsRef<[String]>]) -> String {
    let mut script = String::new();
    for (number, holder) in holders.iter().enumerate() {
        let ready = format!("/run/ready{number}");
        let holder = holder.as_ref();
        // One that changes its root can't say so afterwards.
        let says_so = holder.iter().any(|what| what.starts_with("ready:"));
        let last = if says_so {
            String::new()
        } else {
            format!("ready:{ready}")
        };
        let holder: Vec<String> = holder
            .iter()
            .map(|what| {
                if what.starts_with("ready:") {
                    format!("'ready:{ready}'")
                } else {
                    format!("'{what}'")
                }
            })
            .collect();
        let holder = holder.join(" ");
        let name = holder::NAME;
        script += &[
            &format!("/bin/{name} {holder} {last} &\n"),
            &format!("while ! [ -e {ready} ]; do sleep 0.02; done\n"),
        ]
        .map(String::as_str)
        .concat();
    }
    script
}

/// Puts the holder into a rootfs, and a directory for what it says.
pub fn add_holder(rootfs: &Path) {
    let me = std::env::current_exe().unwrap();
    let to = rootfs.join("bin").join(holder::NAME);
    if !to.exists() {
        fs::copy(me, to).unwrap();
    }
    let run = rootfs.join("run");
    fs::create_dir_all(&run).unwrap();
    fs::set_permissions(run, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
}

fn restore(case: &Case, mut host: Host, trigger: Trigger) {
    if case.is_on_a_tmpfs {
        tool("mount", &["-t", "tmpfs", "tmpfs", SOURCES]);
    }
    new_volume(case);
    add_holder(&rootfs());
    let mut mounts = vec![json!({
        "destination": "/data", "type": "bind", "source": volume(), "options": ["rbind", "rw"]
    })];
    mounts.extend(case.nested.map(|at| {
        json!({"destination": at, "type": "bind", "source": nested(), "options": ["bind", "rw"]})
    }));
    mounts.extend(case.tmpfs.map(
        |at| json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}),
    ));
    host.set_mounts(mounts);
    host.set_cwd(case.cwd);
    if case.first_id > 0 {
        host.set_user_namespace(case.first_id);
    }
    let holders: Vec<Vec<String>> = case
        .holders
        .iter()
        .map(|holder| holder.iter().map(|&what| what.to_owned()).collect())
        .collect();
    host.set_script(&script(&holders));
    host.write_config(trigger);
    host.start();
    let counted = host.checkpoint();

    host.set_cwd(case.restored_cwd.unwrap_or(case.cwd));
    new_volume(case);
    host.write_config(Trigger::None);
    let alone = host.restore();
    if case.says.is_empty() {
        alone.unwrap_or_else(|said| panic!("the restore without premount: {said}"));
    } else {
        let said = alone.expect_err("the restore without premount");
        // crun lacks the mountpoint first.
        let says = ["Can't stat mountpoint", case.says];
        let has_mountpoint = case.tmpfs.is_none() && case.nested.is_none();
        let says = &says[usize::from(has_mountpoint)..];
        let is_said = says.iter().any(|says| said.contains(says));
        assert!(is_said, "CRIU failed otherwise: {said}");
        let (code, host_path) = Host::explain().unwrap();
        let codes = ["missing-mountpoint", "missing-open-file"];
        assert!(
            codes[usize::from(has_mountpoint)..].contains(&&code[..]),
            "{code}: {said}"
        );
        let host_path = host_path.unwrap_or_else(|| panic!("no host path: {said}"));
        assert!(
            Path::new(&host_path).starts_with(SOURCES),
            "{host_path}: {said}"
        );
        assert!(
            !Path::new(&host_path).exists(),
            "{host_path} is there: {said}"
        );
    }
    host.delete();

    new_volume(case);
    if let Some((link, text)) = case.link {
        std::os::unix::fs::symlink(text, volume().join(link)).unwrap();
    }
    let before = snapshot(&volume());
    host.write_config(trigger);
    if trigger == Trigger::Hand {
        Host::apply();
    }
    let with = host.restore();
    if case.link.is_some() {
        let said = with.expect_err("the restore with a link in the way");
        assert!(said.contains(case.says), "CRIU failed otherwise: {said}");
        assert_eq!(
            before,
            snapshot(&volume()),
            "something changed in the volume"
        );
        assert!(!rootfs().join("elsewhere").exists());
        return host.delete();
    }
    with.unwrap_or_else(|said| panic!("the restore with premount: {said}"));
    Host::wait_for_count(counted);
    assert_made(case.made, &before, snapshot(&volume()));
    assert_made(case.made_nested, &BTreeMap::new(), snapshot(&nested()));
    host.delete();
}

fn assert_made(
    made: &[(&str, u32, u32)],
    before: &BTreeMap<PathBuf, InodeSnapshot>,
    mut after: BTreeMap<PathBuf, InodeSnapshot>,
) {
    for &(path, mode, owner) in made {
        let made = after
            .remove(Path::new(path))
            .unwrap_or_else(|| panic!("{path} was not made"));
        let found = (format!("{:o}", made.mode), made.uid);
        assert_eq!(found, (format!("{mode:o}"), owner), "{path}");
    }
    // CRIU binds the sockets.
    after.retain(|_, inode| inode.mode & 0o170_000 != 0o140_000);
    assert_eq!(before, &after, "something else changed in the volume");
}
