// SPDX-License-Identifier: Apache-2.0
//! `install`, `status` and `uninstall`, on a directory that looks like a node's root.

mod advice;
mod criu_files;
mod hooks;
mod install;
mod odd_files;
mod status;
mod stay;
mod uninstall;
mod unwritable;
