// SPDX-License-Identifier: Apache-2.0
//! The packages are built again, elsewhere and from files that only have the same content: the bytes are
//! the same. (The program is not: it is compiled once.)

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What packages.sh reads: all but the tests' own fixtures and fuzz targets.
const SOURCES: &str = ".gitignore Cargo.toml Cargo.lock LICENSE README.md CHANGELOG.md SECURITY.md \
                       benches docs hooks.d packaging src tests";

/// The only commit of a copy's repository.
const COMMIT: &str = "git init -q . && git add -A && export GIT_COMMITTER_DATE=2026-01-02T03:04:05Z && \
    git -c user.name=a -c user.email=a@localhost commit -q -m a --date=$GIT_COMMITTER_DATE";
const COMMITTED: i64 = 1_767_323_045;

/// What `make test` tells this test: the release build, and the tools.
struct Tools {
    release: PathBuf,
    cargo_deb: String,
    cargo_generate_rpm: String,
}

impl Tools {
    fn named() -> Result<Self, String> {
        let named = |name: &str| {
            std::env::var(name)
                .map_err(|_| format!("{name} is not set: run `make test`, which does"))
        };
        Ok(Self {
            release: named("PREMOUNT_RELEASE_BINARY")?.into(),
            cargo_deb: named("PREMOUNT_CARGO_DEB")?,
            cargo_generate_rpm: named("PREMOUNT_CARGO_GENERATE_RPM")?,
        })
    }

    /// The directory `target/TRIPLE` that the release build is in.
    fn of_target(&self) -> &Path {
        self.release.ancestors().nth(2).expect("target/TRIPLE")
    }

    fn triple(&self) -> String {
        let name = self.of_target().file_name().expect("the triple");
        name.to_string_lossy().into_owned()
    }
}

/// A copy of the sources and of what `make` has built, somewhere else.
struct Copy<'a> {
    at: PathBuf,
    tools: &'a Tools,
}

/// The content of each file, by its path.
type Files = BTreeMap<PathBuf, Vec<u8>>;

impl<'a> Copy<'a> {
    fn new(at: PathBuf, tools: &'a Tools) -> Self {
        fs::create_dir_all(at.join("target").join(tools.triple())).unwrap();
        let copy = Self { at, tools };
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = tools.of_target();
        copy.run(&format!(
            "to=$PWD && cd {sources} && cp -r {SOURCES} \"$to\" && cp -r target/generated \"$to\"/target && \
             cd {built} && cp --parents release/premount debug/examples/sbom \"$to\"/target/{triple}",
            sources = sources.display(),
            built = built.display(),
            triple = tools.triple(),
        ));
        copy
    }

    fn run(&self, line: &str) -> String {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", line]).current_dir(&self.at);
        command.env_remove("SOURCE_DATE_EPOCH");
        command.env_remove("CARGO_TARGET_DIR");
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{line}: {said}");
        said.into_owned()
    }

    /// All packages, built after `before`, which is shell.
    fn packages(&self, before: &str) -> Files {
        self.run(&format!(
            "{before} packaging/packages.sh target/packages 1 {} {} {}",
            self.tools.triple(),
            self.tools.cargo_deb,
            self.tools.cargo_generate_rpm
        ));
        let mut files = Files::new();
        read_below(&self.at.join("target/packages"), Path::new(""), &mut files);
        files
    }

    /// The time that the packaged files got.
    fn time(&self) -> i64 {
        let file = self.at.join("target/packages/image/premount");
        fs::metadata(file).unwrap().mtime()
    }
}

fn read_below(root: &Path, below: &Path, files: &mut Files) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            read_below(root, &path, files);
        } else {
            files.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

/// The names of the files that are not the same in both.
fn differing<'a>(one: &'a Files, other: &'a Files) -> Vec<&'a str> {
    let all = one.keys().chain(other.keys());
    let differ = all.filter(|path| one.get(*path) != other.get(*path));
    let mut names: Vec<&str> = differ.filter_map(|path| path.to_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Two builds of the packages are the same bytes: with other paths, times, permissions, file creation mask,
/// time zone, language and name of the machine.
pub fn two_builds() -> Result<(), String> {
    let tools = Tools::named()?;
    let space = tempfile::tempdir().unwrap();
    let here = Copy::new(space.path().join("here"), &tools);
    let there = Copy::new(space.path().join("another place").join("there"), &tools);
    let elsewhere = "find . -exec touch -h -d 2001-02-03 {} + && chmod -R go= . && umask 077 && \
        export TZ=Asia/Tokyo LC_ALL=C.UTF-8 && \
        unshare --uts sh -ec 'hostname elsewhere && exec \"$@\"' -- ";

    here.run(COMMIT);
    there.run(COMMIT);
    let built = here.packages("");
    for kind in [
        ".deb",
        ".rpm",
        ".tar.gz",
        "linux.cdx.json",
        "SHA256SUMS",
        "image/premount",
    ] {
        let is_it = |path: &PathBuf| path.to_string_lossy().ends_with(kind);
        assert_eq!(built.keys().filter(|path| is_it(path)).count(), 1, "{kind}");
    }
    let none: [&str; 0] = [];
    assert_eq!(differing(&built, &there.packages(elsewhere)), none);

    // The image's context names the commit, and says whether something has changed since.
    let labels = |files: &Files| {
        let text = files[Path::new("image/Containerfile")].clone();
        String::from_utf8(text).unwrap()
    };
    let commit = here.run("git rev-parse HEAD");
    let revision = |said: &str| format!("revision=\"{}{said}\"\n", commit.trim());
    assert!(labels(&built).contains(&revision("")), "{}", labels(&built));
    assert!(labels(&built).contains("created=\"2026-01-02T03:04:05Z\""));

    // The time is that of the commit, and it is in every package.
    assert_eq!(here.time(), COMMITTED);
    here.run("echo changed >>tests/README.md");
    let later = here.packages(&format!("SOURCE_DATE_EPOCH={}", COMMITTED + 60));
    assert!(labels(&later).contains(&revision("-dirty")));
    let differ = differing(&built, &later);
    for kind in [".deb", ".rpm", ".tar.gz", "linux.cdx.json"] {
        let is_it = |name: &&str| name.ends_with(kind);
        assert!(differ.iter().any(is_it), "{kind}: {differ:?}");
    }

    // Without a repository it is the sources' own: a day.
    there.run("rm -r .git");
    let without = there.packages("");
    assert!(!labels(&without).contains("revision"));
    assert_eq!(there.time() % (24 * 60 * 60), 0);
    Ok(())
}
