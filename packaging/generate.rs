// SPDX-License-Identifier: Apache-2.0
//! Generates the man page and the shell completions from the definition of the command line:
//!
//!     cargo run --example generate -- DIRECTORY
//!
//! The sections that the definition does not cover (files, environment, examples) are in packaging/man.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Error as IoError, Write};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use premount::cli::Cli;

/// The date of the last change to the handwritten sections.
const DATE: &str = "2026-11-25";
const DESCRIPTION: &str = include_str!("man/description.roff");
const REST: &str = include_str!("man/rest.roff");

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [directory] = arguments.as_slice() else {
        return Err("usage: generate DIRECTORY".into());
    };
    let directory = Path::new(directory);
    // A directory of the build, not of a container.
    #[allow(clippy::disallowed_methods)]
    fs::create_dir_all(directory).map_err(|error| named(directory, &error))?;
    let page = directory.join("premount.8");
    let mut text = Vec::new();
    write_page(&mut text)?;
    File::create(&page)
        .and_then(|mut file| file.write_all(tidy(&String::from_utf8_lossy(&text)).as_bytes()))
        .map_err(|error| named(&page, &error))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "premount", directory)
            .map_err(|error| named(directory, &error))?;
    }
    Ok(())
}

fn named(path: &Path, error: &IoError) -> String {
    format!("{}: {error}", PathBuf::from(path).display())
}

/// Writes one page for all commands, which have few options and share most of them.
fn write_page(page: &mut dyn Write) -> Result<(), IoError> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    writeln!(page, ".\\\" SPDX-License-Identifier: Apache-2.0")?;
    let man = Man::new(command.clone())
        .title("PREMOUNT")
        .section("8")
        .date(DATE)
        .manual("System Administration");
    man.render_title(page)?;
    let mut name = Roff::new();
    name.control("SH", ["NAME"]);
    name.text([roman(
        "premount - create what CRIU needs in volumes, just before it restores a container",
    )]);
    name.control("SH", ["SYNOPSIS"]);
    name.text([
        bold("premount"),
        roman(" ["),
        bold("--log-level"),
        roman(" LEVEL] ["),
        bold("--log"),
        roman(" WHERE]"),
    ]);
    for command in command.get_subcommands() {
        name.control("br", []);
        name.text(usage(command));
    }
    name.to_writer(page)?;
    page.write_all(DESCRIPTION.as_bytes())?;
    man.render_options_section(page)?;
    writeln!(page, ".SH COMMANDS")?;
    for command in command.get_subcommands() {
        write_command(page, command)?;
    }
    page.write_all(REST.as_bytes())
}

/// Removes repeated preambles, since each part of the page has its own, and the blank lines in lists of
/// values, which man(7) does not allow.
fn tidy(page: &str) -> String {
    let mut preamble = Vec::new();
    let mut tidied = String::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        let again = tidied.ends_with(".br\n") && line == ".br" || preamble.contains(&line);
        if line.starts_with(".ie ") || line.starts_with(".el ") || line.starts_with(".\\\"") {
            preamble.push(line);
        }
        if !again {
            tidied.push_str(line);
            tidied.push('\n');
        }
    }
    tidied
}

/// The synopsis of a command: its name and its arguments.
fn usage(command: &Command) -> Vec<clap_mangen::roff::Inline> {
    let name = command.get_bin_name().unwrap_or_default().to_owned();
    let whole = command.clone().render_usage().to_string();
    let rest = whole.split_once(&name).map_or("", |(_, rest)| rest);
    vec![bold(name), roman(rest.to_owned())]
}

/// Writes the section of a command: its description, and the options that not all commands share.
fn write_command(page: &mut dyn Write, command: &Command) -> Result<(), IoError> {
    let mut text = Roff::new();
    text.control("SS", [command.get_bin_name().unwrap_or_default()]);
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    for (index, paragraph) in about.split("\n\n").enumerate() {
        if index > 0 {
            text.control("PP", []);
        }
        let ended = if paragraph.ends_with('.') { "" } else { "." };
        text.text([roman(format!("{}{ended}", paragraph.replace('\n', " ")))]);
    }
    text.to_writer(page)?;
    let common: Vec<String> = command
        .get_arguments()
        .filter(|argument| argument.is_global_set() || argument.get_id() == "help")
        .map(|argument| argument.get_id().to_string())
        .collect();
    let own = common.iter().fold(command.clone(), |command, id| {
        command.mut_arg(id, |argument| argument.hide(true))
    });
    let mut options = Vec::new();
    Man::new(own).render_options_section(&mut options)?;
    let options = String::from_utf8_lossy(&options);
    page.write_all(options.replacen(".SH OPTIONS\n", "", 1).as_bytes())
}
