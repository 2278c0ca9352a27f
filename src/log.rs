// SPDX-License-Identifier: Apache-2.0
//! What is said on standard error: a line an event, without time or colour unless a person watches.

use std::io::{IsTerminal, stderr};

use tracing::warn;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

use crate::cli::LogLevel;

/// The variable that has the level where the command line doesn't say it.
pub const VARIABLE: &str = "PREMOUNT_LOG";

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Who speaks, in every line: they end up in the logs of CRIU and of container engines.
pub const TARGET: &str = "premount";

/// Starts logging. `chosen` is the command line's word, `default` the command's own level.
pub fn start(chosen: Option<LogLevel>, default: LogLevel) {
    // A word in the environment that means nothing must not stop a restore: it is said, and passed
    // over.
    let variable = std::env::var_os(VARIABLE).filter(|word| !word.is_empty());
    let from_variable = variable
        .as_deref()
        .map(|word| <LogLevel as clap::ValueEnum>::from_str(&word.to_string_lossy(), true));
    let named = from_variable.as_ref().and_then(|named| named.as_ref().ok());
    let level = chosen.or(named.copied()).unwrap_or(default);
    let watched = stderr().is_terminal();
    let lines = fmt()
        .with_writer(stderr)
        .with_max_level(LevelFilter::from(level))
        .with_ansi(watched);
    // Only a logger of before can make these fail, and then that one goes on.
    let _ = if watched {
        tracing::subscriber::set_global_default(lines.finish())
    } else {
        tracing::subscriber::set_global_default(lines.without_time().finish())
    };
    if let (Some(word), Some(Err(_)), None) = (&variable, &from_variable, chosen) {
        let word = word.as_encoded_bytes();
        warn!(
            "{VARIABLE} is no log level: {}",
            crate::escape::Escaped(word)
        );
    }
}
