// SPDX-License-Identifier: Apache-2.0
//! The OCI runtime-spec's files: the bundle, its configuration with the mounts, and the state that a hook
//! receives.

pub mod bundle;
pub mod config;
pub mod json;
pub mod mount;
pub mod owner;
pub mod process;
pub mod state;
