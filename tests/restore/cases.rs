// SPDX-License-Identifier: Apache-2.0
//! The containers of the matrix: sources, mounts, what a restore needs in the sources, and which
//! runtime can't do without premount.

use crate::host::Runtime::{self, Crun, Runc};

/// A container.
pub struct MatrixCase {
    pub name: &'static str,
    /// The runtimes that can start it at all.
    pub runtimes: &'static [Runtime],
    pub sources: &'static [(&'static str, Source)],
    /// Links in the rootfs, with their text.
    pub links: &'static [(&'static str, &'static str)],
    pub mounts: &'static [MatrixMount],
    /// What premount has to make, outermost first.
    pub made: &'static [Made],
    /// The runtimes whose restore fails without premount.
    pub fails_without: &'static [Runtime],
    pub reset: Reset,
}

/// What a source is when it is new.
#[derive(Clone, Copy)]
pub enum Source {
    Directory,
    File,
    Tmpfs,
    /// A directory on which the host has mounted a tmpfs, below this name.
    WithHostMount(&'static str),
}

pub struct MatrixMount {
    pub at: &'static str,
    pub from: From,
}

/// What is mounted, with its options.
pub enum From {
    Source(&'static str, &'static [&'static str]),
    /// A source by its path from the bundle, in a mount without a type.
    Relative(&'static str, &'static [&'static str]),
    Tmpfs(&'static [&'static str]),
}

/// What is made, in which source.
#[derive(Clone, Copy)]
pub enum Made {
    Directory(&'static str, &'static str),
    File(&'static str, &'static str),
}

/// What becomes of the sources between checkpoint and restore.
#[derive(PartialEq, Eq)]
pub enum Reset {
    /// They are as they were before the container's first start.
    Emptied,
    /// The configuration has others.
    BrandNew,
}

const fn bind(at: &'static str, source: &'static str) -> MatrixMount {
    MatrixMount {
        at,
        from: From::Source(source, &["bind", "rw"]),
    }
}

const fn tmpfs(at: &'static str) -> MatrixMount {
    MatrixMount {
        at,
        from: From::Tmpfs(&["nosuid", "nodev"]),
    }
}

const BOTH: &[Runtime] = &[Runc, Crun];

const NOTHING: MatrixCase = MatrixCase {
    name: "",
    runtimes: BOTH,
    sources: &[],
    links: &[],
    mounts: &[],
    made: &[],
    fails_without: &[],
    reset: Reset::Emptied,
};

pub const CASES: &[MatrixCase] = &[
    MatrixCase {
        // opencontainers/runc issue 2748, with its own names.
        name: "a_tmpfs_in_a_directory_on_a_tmpfs",
        sources: &[("tmpfs", Source::Tmpfs)],
        mounts: &[bind("/test", "tmpfs"), tmpfs("/test/lower/directory")],
        made: &[
            Made::Directory("tmpfs", "lower"),
            Made::Directory("tmpfs", "lower/directory"),
        ],
        fails_without: &[Crun],
        ..NOTHING
    },
    MatrixCase {
        name: "a_token_in_run_secrets",
        sources: &[("secrets", Source::Tmpfs), ("token", Source::Directory)],
        mounts: &[
            bind("/run/secrets", "secrets"),
            bind("/run/secrets/kubernetes.io/serviceaccount", "token"),
        ],
        made: &[
            Made::Directory("secrets", "kubernetes.io"),
            Made::Directory("secrets", "kubernetes.io/serviceaccount"),
        ],
        fails_without: &[Crun],
        ..NOTHING
    },
    MatrixCase {
        name: "a_token_in_run_secrets_through_a_link",
        // crun gives CRIU the mount's name as it is written, and its checkpoint fails.
        runtimes: &[Runc],
        links: &[("var/run", "/run")],
        sources: &[("secrets", Source::Tmpfs), ("token", Source::Directory)],
        mounts: &[
            bind("/run/secrets", "secrets"),
            bind("/var/run/secrets/kubernetes.io/serviceaccount", "token"),
        ],
        made: &[
            Made::Directory("secrets", "kubernetes.io"),
            Made::Directory("secrets", "kubernetes.io/serviceaccount"),
        ],
        ..NOTHING
    },
    MatrixCase {
        name: "a_file_in_a_directory",
        sources: &[("directory", Source::Directory), ("file", Source::File)],
        mounts: &[
            bind("/etc/app", "directory"),
            bind("/etc/app/conf.d/file", "file"),
        ],
        made: &[
            Made::Directory("directory", "conf.d"),
            Made::File("directory", "conf.d/file"),
        ],
        fails_without: &[Crun],
        ..NOTHING
    },
    MatrixCase {
        name: "three_levels_over_two_tmpfs_sources",
        sources: &[
            ("one", Source::Tmpfs),
            ("two", Source::Tmpfs),
            ("three", Source::Directory),
        ],
        mounts: &[
            bind("/a", "one"),
            bind("/a/b", "two"),
            bind("/a/b/c", "three"),
        ],
        made: &[Made::Directory("one", "b"), Made::Directory("two", "c")],
        fails_without: &[Crun],
        ..NOTHING
    },
    MatrixCase {
        name: "a_mount_in_a_bind_in_a_tmpfs",
        sources: &[("bound", Source::Directory), ("nested", Source::Directory)],
        mounts: &[tmpfs("/a"), bind("/a/b", "bound"), bind("/a/b/c", "nested")],
        made: &[Made::Directory("bound", "c")],
        fails_without: BOTH,
        ..NOTHING
    },
    MatrixCase {
        name: "a_mount_in_a_bind_below_dev",
        sources: &[("bound", Source::Directory), ("nested", Source::File)],
        mounts: &[
            bind("/dev/volume", "bound"),
            bind("/dev/volume/nested", "nested"),
        ],
        made: &[Made::File("bound", "nested")],
        fails_without: BOTH,
        ..NOTHING
    },
    MatrixCase {
        name: "a_mount_in_a_read_only_bind",
        // runc can't make the mountpoint at the container's first start.
        runtimes: &[Crun],
        sources: &[("bound", Source::Directory), ("nested", Source::Directory)],
        mounts: &[
            MatrixMount {
                at: "/a",
                from: From::Source("bound", &["rbind", "ro"]),
            },
            bind("/a/b", "nested"),
        ],
        made: &[Made::Directory("bound", "b")],
        fails_without: &[Crun],
        ..NOTHING
    },
    MatrixCase {
        name: "a_relative_source",
        // crun takes it from its own current directory, and finds nothing.
        runtimes: &[Runc],
        sources: &[("bound", Source::Directory), ("nested", Source::Directory)],
        mounts: &[
            tmpfs("/a"),
            MatrixMount {
                at: "/a/b",
                from: From::Relative("bound", &["rbind"]),
            },
            MatrixMount {
                at: "/a/b/c",
                from: From::Relative("nested", &["bind"]),
            },
        ],
        made: &[Made::Directory("bound", "c")],
        fails_without: &[Runc],
        ..NOTHING
    },
    MatrixCase {
        name: "a_source_in_itself",
        sources: &[("bound", Source::Directory), ("nested", Source::Directory)],
        mounts: &[
            bind("/a", "bound"),
            bind("/a/inner", "bound"),
            bind("/a/inner/deep", "nested"),
        ],
        made: &[
            Made::Directory("bound", "inner"),
            Made::Directory("bound", "deep"),
        ],
        fails_without: &[Crun],
        ..NOTHING
    },
    MatrixCase {
        name: "a_mount_over_another",
        sources: &[
            ("under", Source::Directory),
            ("over", Source::Directory),
            ("nested", Source::Directory),
        ],
        mounts: &[
            bind("/a/b", "under"),
            bind("/a", "over"),
            bind("/a/b/c", "nested"),
        ],
        made: &[Made::Directory("over", "b"), Made::Directory("over", "b/c")],
        fails_without: &[Crun],
        ..NOTHING
    },
    MatrixCase {
        // CRIU can't dump a mount whose mountpoint has a newline in it: only the source has one.
        name: "names_with_blanks_quotes_newlines_and_utf8",
        sources: &[
            ("a 'b' \"c\"", Source::Tmpfs),
            ("naïve\n日本", Source::File),
        ],
        mounts: &[
            bind("/with blank", "a 'b' \"c\""),
            bind("/with blank/it's \"here\"/ünï code\\x", "naïve\n日本"),
        ],
        made: &[
            Made::Directory("a 'b' \"c\"", "it's \"here\""),
            Made::File("a 'b' \"c\"", "it's \"here\"/ünï code\\x"),
        ],
        fails_without: &[Crun],
        ..NOTHING
    },
    MatrixCase {
        name: "a_bind_that_hides_a_mount_of_the_hosts",
        sources: &[
            ("bound", Source::WithHostMount("mounted")),
            ("nested", Source::Directory),
        ],
        mounts: &[
            tmpfs("/a"),
            bind("/a/b", "bound"),
            bind("/a/b/mounted/c", "nested"),
        ],
        made: &[Made::Directory("bound", "mounted/c")],
        fails_without: BOTH,
        ..NOTHING
    },
    MatrixCase {
        // runc calls both mounts at /data by that name, and CRIU binds the source where the tmpfs was.
        name: "a_mount_in_a_tmpfs_on_a_bind_through_a_link",
        runtimes: &[Runc],
        links: &[("run/s2", "../data")],
        sources: &[("bound", Source::Directory), ("nested", Source::Directory)],
        mounts: &[
            bind("/data", "bound"),
            tmpfs("/run/s2"),
            bind("/run/s2/n", "nested"),
        ],
        made: &[Made::Directory("bound", "n")],
        fails_without: &[Runc],
        ..NOTHING
    },
    MatrixCase {
        name: "brand_new_sources",
        sources: &[("bound", Source::Tmpfs), ("nested", Source::Directory)],
        mounts: &[
            tmpfs("/a"),
            bind("/a/b", "bound"),
            bind("/a/b/c/d", "nested"),
        ],
        made: &[
            Made::Directory("bound", "c"),
            Made::Directory("bound", "c/d"),
        ],
        fails_without: BOTH,
        reset: Reset::BrandNew,
        ..NOTHING
    },
];
