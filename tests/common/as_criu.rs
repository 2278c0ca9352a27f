// SPDX-License-Identifier: Apache-2.0
//! premount, called as CRIU calls its action script.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Ended, World, binary, ended, output_of};

/// How CRIU calls its scripts. A stand-in for the runtime and for CRIU: what premount looks for in them
/// is their command lines, which a shell can have too, and their current directories.
pub struct AsCriu {
    /// The current directory of the runtime.
    pub runtime: PathBuf,
    /// The arguments of the runtime, from its name on.
    pub runtime_arguments: Vec<String>,
    /// The first argument of CRIU.
    pub word: &'static str,
    /// `CRTOOLS_SCRIPT_ACTION`.
    pub stage: String,
    /// `CRTOOLS_IMAGE_DIR`.
    pub images: PathBuf,
    /// What to call premount by.
    pub before: Vec<String>,
    /// premount.
    pub program: PathBuf,
    /// A directory for the scripts.
    pub scripts: PathBuf,
}

impl AsCriu {
    /// For a runtime that restores what `world` has the bundle of.
    pub fn restores(world: &World) -> Self {
        Self {
            runtime: world.path("bundle"),
            runtime_arguments: vec!["runc".into(), "restore".into(), "c1".into()],
            word: "swrk",
            stage: "pre-restore".to_owned(),
            images: world.path("bundle/checkpoint"),
            before: Vec::new(),
            program: binary(),
            scripts: world.path("criu"),
        }
    }

    /// Calls premount from there.
    pub fn call(&self, arguments: &[&str]) -> Ended {
        ended(&output_of(self.command(arguments).spawn().unwrap()))
    }

    /// The command that calls it. The runtime is a shell that starts another, which is CRIU: `sh WORD 3`,
    /// with the script WORD in its current directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        fs::create_dir_all(&self.scripts).unwrap();
        for (name, text) in [
            (
                "runtime",
                "env -C \"$SCRIPTS\" sh \"$WORD\" 3 \"$@\"\nexit $?\n",
            ),
            (
                self.word,
                "shift\n[ ! -d \"$CRTOOLS_IMAGE_DIR\" ] || {\n\
                 exec 9<\"$CRTOOLS_IMAGE_DIR\"\nexport CRTOOLS_IMAGE_DIR=/proc/$$/fd/9\n}\n\
                 \"$@\"\nexit $?\n",
            ),
        ] {
            fs::write(self.scripts.join(name), text).unwrap();
        }
        // The script calls what comes behind the runtime's own arguments.
        let shifts = "shift;".repeat(self.runtime_arguments.len() - 1);
        let start = format!("{shifts} . \"$SCRIPTS/runtime\"");
        let mut command = Command::new("sh");
        std::os::unix::process::CommandExt::arg0(&mut command, &self.runtime_arguments[0]);
        command
            .args(["-c", &start, "sh"])
            .args(&self.runtime_arguments[1..])
            .args(&self.before)
            .arg(&self.program)
            .args(arguments)
            .current_dir(&self.runtime)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("SCRIPTS", &self.scripts)
            .env("WORD", self.word)
            .env("CRTOOLS_SCRIPT_ACTION", &self.stage)
            .env("CRTOOLS_IMAGE_DIR", &self.images)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}
