// SPDX-License-Identifier: Apache-2.0
//! A mount of the configuration, checked and classified by what it mounts.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::json::Text;
use crate::escape::Escaped;
use crate::path::{NotAPath, RelPath};
use crate::sys::MountpointKind;
use crate::sys::kernel_fs::is_kernel_fs;

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A host directory or file.
    Bind {
        /// Its absolute host path.
        source: PathBuf,
        /// `rbind`: includes the host mounts below it.
        recursive: bool,
        /// How a source that is a symlink is handled.
        link: LinkSource,
    },
    /// A host directory or file that only the restore will have: the checkpoint stands alone.
    Awaited {
        /// What it is, if that is known.
        kind: Option<MountpointKind>,
        /// Whether the engine provides it itself.
        by_engine: bool,
        /// Its path where the checkpoint was made, if that is known.
        was: Option<PathBuf>,
    },
    /// The container's own tmpfs, whose content CRIU restores.
    Tmpfs {
        /// `tmpcopyup`: it starts as a copy of the directory that it covers.
        copy_up: bool,
    },
    /// A kernel file system.
    Kernel,
    /// Anything else, which premount doesn't inspect.
    Other,
}

/// How a source that is a symlink is handled (crun(1), "crun extensions").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkSource {
    /// The symlink is followed.
    Followed,
    /// `src-nofollow`: the symlink itself is bound.
    Bound,
    /// `copy-symlink`: nothing is mounted, and the runtime creates a symlink with the same target instead.
    Copied,
}

/// A mount of the configuration (runtime-spec config.md, "Mounts").
#[derive(Clone, Debug)]
pub struct Mount {
    /// The destination as in the configuration.
    pub written: String,
    /// The cleaned destination, or why it is not a path.
    pub destination: Result<RelPath, NotAPath>,
    /// The name that CRIU has for it, cleaned, where only the checkpoint tells; else it is the destination.
    pub key: Option<RelPath>,
    /// Whether a symlink at the destination is followed: not with crun's `dest-nofollow`.
    pub follow: bool,
    /// Whether it is read-only (`ro`, `rro`).
    pub read_only: bool,
    /// `bind`, `rbind`, or the file system's type.
    pub file_system: String,
    /// What is mounted.
    pub content: Content,
}

/// A mount as parsed. Nothing is copied that [`Mount`] doesn't keep: a pod has dozens of mounts, and most of
/// their text is options that premount ignores.
#[derive(serde::Deserialize)]
pub(super) struct RawMount<'a> {
    #[serde(borrow)]
    destination: Text<'a>,
    #[serde(borrow, rename = "type")]
    file_system: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    options: Option<Options>,
}

/// The mount options that premount knows.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent flags")]
struct Options {
    bind: bool,
    rbind: bool,
    copy_symlink: bool,
    src_nofollow: bool,
    dest_nofollow: bool,
    tmpcopyup: bool,
    read_only: bool,
}

impl<'de> Deserialize<'de> for Options {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Options;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Options, A::Error> {
                let mut options = Options::default();
                while let Some(Text(option)) = list.next_element()? {
                    match option.as_ref() {
                        "bind" => options.bind = true,
                        "rbind" => options.rbind = true,
                        "copy-symlink" => options.copy_symlink = true,
                        "src-nofollow" => options.src_nofollow = true,
                        "dest-nofollow" => options.dest_nofollow = true,
                        "tmpcopyup" => options.tmpcopyup = true,
                        // The last one counts, as with mount(8).
                        "ro" | "rro" => options.read_only = true,
                        "rw" | "rrw" => options.read_only = false,
                        _ => {}
                    }
                }
                Ok(options)
            }
        }
        deserializer.deserialize_seq(Words)
    }
}

impl Mount {
    /// Converts a mount of the configuration. Relative sources are relative to `bundle`.
    pub(super) fn new(mount: RawMount, bundle: &Path) -> Self {
        let Text(written) = mount.destination;
        let options = mount.options.unwrap_or_default();
        // These options override the type (runtime-spec: "SHOULD be none").
        let (file_system, content) = if options.rbind || options.bind {
            let name = if options.rbind { "rbind" } else { "bind" };
            let source = mount.source.as_ref().map_or("", |Text(source)| source);
            let content = Content::Bind {
                source: bundle.join(source),
                recursive: options.rbind,
                link: if options.copy_symlink {
                    LinkSource::Copied
                } else if options.src_nofollow {
                    LinkSource::Bound
                } else {
                    LinkSource::Followed
                },
            };
            (name.to_owned(), content)
        } else {
            let file_system = mount
                .file_system
                .map_or(String::new(), |Text(name)| name.into_owned());
            let content = if file_system == "tmpfs" {
                Content::Tmpfs {
                    copy_up: options.tmpcopyup,
                }
            } else if is_kernel_fs(&file_system) {
                Content::Kernel
            } else {
                Content::Other
            };
            (file_system, content)
        };
        Self {
            key: None,
            destination: RelPath::from_destination(&written),
            written: written.into_owned(),
            follow: !options.dest_nofollow,
            read_only: options.read_only,
            file_system,
            content,
        }
    }

    /// The source of a bind.
    pub fn source(&self) -> Option<&Path> {
        match &self.content {
            Content::Bind { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether it shows a directory or file of the host, there or not.
    pub fn is_bind(&self) -> bool {
        matches!(self.content, Content::Bind { .. } | Content::Awaited { .. })
    }

    /// A mount that only the checkpoint has.
    pub fn of_checkpoint(
        mountpoint: &RelPath,
        file_system: String,
        content: Content,
        read_only: bool,
    ) -> Self {
        Self {
            written: match std::str::from_utf8(mountpoint.as_bytes()) {
                Ok(path) => format!("/{path}"),
                Err(_) => format!("/{}", Escaped(mountpoint.as_bytes())),
            },
            destination: Ok(mountpoint.clone()),
            key: None,
            follow: true,
            read_only,
            file_system,
            content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Mount {
        Mount::new(serde_json::from_str(json).unwrap(), Path::new("/bundle"))
    }

    #[test]
    fn a_bind_is_told_by_its_options_whatever_the_type_says() {
        for typed in [
            "",
            r#""type":"none","#,
            r#""type":"bind","#,
            r#""type":"tmpfs","#,
        ] {
            for (options, recursive) in [
                (r#""bind""#, false),
                (r#""ro","rbind""#, true),
                (r#""rbind","bind""#, true),
            ] {
                let json =
                    format!(r#"{{"destination":"/a",{typed}"source":"/s","options":[{options}]}}"#);
                let source = PathBuf::from("/s");
                assert_eq!(
                    parsed(&json).content,
                    Content::Bind {
                        source,
                        recursive,
                        link: LinkSource::Followed
                    },
                    "{json}"
                );
            }
        }
        assert_eq!(
            parsed(r#"{"destination":"/a","type":"bind","source":"/s"}"#).content,
            Content::Other
        );
    }

    #[test]
    fn a_relative_source_lies_in_the_bundle() {
        let mount = parsed(r#"{"destination":"/a","source":"vol/a","options":["bind"]}"#);
        let source = PathBuf::from("/bundle/vol/a");
        assert_eq!(
            mount.content,
            Content::Bind {
                source,
                recursive: false,
                link: LinkSource::Followed
            }
        );
    }
}
