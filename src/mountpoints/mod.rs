// SPDX-License-Identifier: Apache-2.0
//! The heart: from the mounts of a configuration and the images of a checkpoint to what is missing, mountpoints and
//! open files, and from that to what is created.
//!
//! [`planner`] builds the [`mount_tree`] one mount after the other, follows each destination through it
//! ([`resolve`]) to its mountpoint in one of the [`sources`], and adds what the checkpoint needs beyond the
//! configuration ([`required`]). The result is a [`plan`], with what is [`pending`]. [`mod@create`] carries it
//! out; [`diagnosis`](crate::diagnosis) says whether CRIU would restore.

pub mod budget;
pub mod create;
pub mod failure;
pub mod host_place;
pub mod mount_tree;
pub mod needs;
pub mod pending;
pub mod plan;
pub mod planner;
pub mod required;
pub mod resolve;
pub mod sources;
