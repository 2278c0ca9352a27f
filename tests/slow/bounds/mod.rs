// SPDX-License-Identifier: Apache-2.0
//! What any checkpoint may cost: 64 MiB of memory and some seconds, whatever is in it, by hand and in a
//! restore. Measured on the release build where there is one (`PREMOUNT_RELEASE_BINARY`).

mod alone;
mod archives;
mod images;
mod measure;
mod open_files;
