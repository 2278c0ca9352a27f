// SPDX-License-Identifier: Apache-2.0
//! A container's first start, with premount's hook and the annotation in place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Test;
use crate::enter::Root;
use crate::host::{BUNDLE, Host, Runtime, SOURCES, Trigger, snapshot};

/// The tests of first starts.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let name = format!(
                "{}::hook::a_first_start_is_as_without_premount",
                runtime.name()
            );
            tests.push(Test::new(root, &name, move || {
                first_start(Host::new(root, runtime));
            }));
        }
    }
    // crun 1.21 doesn't find what `dest-nofollow` is about.
    let name = "crun::hand::options_for_links_mean_what_crun_takes_them_for";
    tests.push(Test::new(Root::Sid, name, || {
        options_for_links(Host::new(Root::Sid, Runtime::Crun));
    }));
    tests
}

/// crun(1), "crun extensions": what a first start makes in the volume, and what premount makes there, but
/// for the links themselves.
fn options_for_links(mut host: Host) {
    let volume = Path::new(SOURCES).join("volume");
    let link = Path::new(SOURCES).join("link");
    let file = Path::new(SOURCES).join("file");
    let new_volume = || {
        let _ = fs::remove_dir_all(&volume);
        // crun makes nothing behind a link that leads nowhere.
        fs::create_dir_all(volume.join("sub/real/deep")).unwrap();
        symlink("of-nobody", volume.join("nofollow")).unwrap();
    };
    new_volume();
    symlink("real/deep", &link).unwrap();
    fs::write(&file, "").unwrap();
    let bind = |source: &Path, at: &str, option: &str| json!({"destination": at, "type": "bind", "source": source, "options": ["bind", option]});
    host.set_mounts(vec![
        bind(&volume, "/data", "rw"),
        bind(&link, "/data/sub/copied", "copy-symlink"),
        bind(&file, "/data/no-link", "copy-symlink"),
        json!({"destination": "/data/sub/copied/x", "type": "tmpfs", "source": "tmpfs"}),
        bind(&file, "/data/nofollow", "dest-nofollow"),
    ]);
    host.write_config(Trigger::None);
    host.create().expect("a first start");
    host.delete();
    let paths = || -> Vec<PathBuf> {
        let all = snapshot(&volume).into_iter();
        let real = all.filter(|(_, inode)| inode.mode & 0o170_000 != 0o120_000);
        real.map(|(path, _)| path).collect()
    };
    let by_crun = paths();
    assert!(by_crun.contains(&"sub/real/deep/x".into()), "{by_crun:?}");
    new_volume();
    let ended = Host::call_premount(&["apply", "--bundle", BUNDLE]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(paths(), by_crun);
}

fn first_start(mut host: Host) {
    let source = Path::new(SOURCES).join("a");
    host.set_mounts(vec![
        json!({"destination": "/a", "type": "bind", "source": source, "options": ["bind"]}),
        json!({"destination": "/a/b/c", "type": "tmpfs", "source": "tmpfs"}),
    ]);
    let mut started = [Trigger::None, Trigger::Hook].map(|trigger| {
        let _ = fs::remove_dir_all(&source);
        fs::create_dir_all(&source).unwrap();
        host.write_config(trigger);
        host.start();
        let mountpoints = host.mountpoints();
        host.delete();
        (mountpoints, snapshot(&source))
    });
    let [without, with] = &mut started;
    assert_eq!(without, with);
}
