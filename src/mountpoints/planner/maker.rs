// SPDX-License-Identifier: Apache-2.0
//! Decides who creates what a task of the container needs.

use super::Planner;
use crate::checkpoint::Holder;
use crate::mountpoints::pending::{Maker, MakerId};
use crate::oci::process::User;

impl Planner {
    /// Who creates what a task holds: the task, if the container's user is root and could have become it; else the
    /// container's user. None if the user namespace doesn't map that.
    pub(super) fn maker(&mut self, holder: Option<&Holder>) -> Option<MakerId> {
        let own = self.owner.on_host(&self.user)?;
        let task = holder.and_then(|holder| holder.credentials.as_ref());
        let task = task.filter(|_| self.user.uid == 0).and_then(|task| {
            self.owner.on_host(&User {
                uid: task.uid,
                gid: task.gid,
                groups: task.groups.clone(),
            })
        });
        let maker = match task {
            Some(task) if task.uid != own.uid => Maker::Task {
                user: task,
                root: Some(own),
            },
            task => Maker::Task {
                user: task.unwrap_or(own),
                root: None,
            },
        };
        let known = self.makers.iter().position(|known| *known == maker);
        Some(MakerId(known.unwrap_or_else(|| {
            self.makers.push(maker);
            self.makers.len() - 1
        })))
    }
}
