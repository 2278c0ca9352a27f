// SPDX-License-Identifier: Apache-2.0
//! What the OCI runtime-spec defines: the bundle, its configuration with the mounts, and the state that a
//! hook gets.

pub mod bundle;
pub mod config;
pub mod json;
pub mod mount;
pub mod owner;
pub mod state;
