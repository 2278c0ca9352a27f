// SPDX-License-Identifier: Apache-2.0
//! A mount of the configuration, checked and classified by what it mounts.

use std::path::{Path, PathBuf};

use oci_spec::runtime;

use crate::path::{NotAPath, RelPath};
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
    /// Whether a symlink at the destination is followed: not with crun's `dest-nofollow`.
    pub follow: bool,
    /// `bind`, `rbind`, or the file system's type.
    pub file_system: String,
    /// What is mounted.
    pub content: Content,
}

impl Mount {
    /// Converts a mount of the configuration. Relative sources are relative to `bundle`.
    pub fn new(mount: &runtime::Mount, bundle: &Path) -> Self {
        let written = mount.destination().to_string_lossy().into_owned();
        let options = mount.options().as_deref().unwrap_or_default();
        let has = |name| options.iter().any(|option| option == name);
        let written_type = mount.typ().as_deref().unwrap_or_default();
        // These options override the type (runtime-spec: "SHOULD be none").
        let (file_system, content) = if has("rbind") || has("bind") {
            let source = mount.source().as_deref().unwrap_or(Path::new(""));
            let recursive = has("rbind");
            let name = if recursive { "rbind" } else { "bind" };
            (
                name,
                Content::Bind {
                    source: bundle.join(source),
                    recursive,
                    link: if has("copy-symlink") {
                        LinkSource::Copied
                    } else if has("src-nofollow") {
                        LinkSource::Bound
                    } else {
                        LinkSource::Followed
                    },
                },
            )
        } else if written_type == "tmpfs" {
            (
                written_type,
                Content::Tmpfs {
                    copy_up: has("tmpcopyup"),
                },
            )
        } else if is_kernel_fs(written_type) {
            (written_type, Content::Kernel)
        } else {
            (written_type, Content::Other)
        };
        Self {
            destination: RelPath::from_destination(&written),
            written,
            follow: !has("dest-nofollow"),
            file_system: file_system.to_owned(),
            content,
        }
    }

    /// The source of a bind.
    pub fn source(&self) -> Option<&Path> {
        match &self.content {
            Content::Bind { source, .. } => Some(source),
            Content::Tmpfs { .. } | Content::Kernel | Content::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Mount {
        Mount::new(&serde_json::from_str(json).unwrap(), Path::new("/bundle"))
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
