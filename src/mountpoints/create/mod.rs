// SPDX-License-Identifier: Apache-2.0
//! The last step: creates what a plan found missing. It never opens, empties, replaces or changes anything
//! that is there, and follows no link.
//!
//! One pass over each directory that something is missing in, in the order of the paths: so each directory
//! is opened once, in whatever order the mounts come.

mod creator;
mod outcome;
mod pass;

use tracing::info;

use crate::log::TARGET;
use crate::mountpoints::budget::Lines;
use crate::mountpoints::host_place::HostPlace;
use crate::mountpoints::plan::{Plan, Status};
use crate::oci::owner::Owner;
use crate::sys;
use creator::Creator;
use pass::Pass;

/// Creates all that can be created, and notes in the plan what became of each mount and open file.
pub fn create(plan: &mut Plan, owner: &Owner) {
    if plan.pending.is_empty() {
        return;
    }
    sys::reset_umask();
    let mut sources = std::mem::take(&mut plan.sources);
    let mut pending = std::mem::take(&mut plan.pending);
    sources.make_room();
    let mut lines = Lines::default();
    let mut creator = Creator::new(owner, &plan.makers, plan.may_override);
    for (number, bases) in bases_of(plan, pending.count()).into_iter().enumerate() {
        let Some(tree) = pending.tree_mut(number) else {
            continue;
        };
        // One of them is enough: they lead to the same directory.
        for base in bases {
            let made = match &mut creator {
                Ok(creator) => Pass {
                    sources: &mut sources,
                    creator,
                    plan,
                    lines: &mut lines,
                    path: base.path.clone(),
                    base,
                    reached: None,
                }
                .run(tree),
                Err(cause) => Err((base, *cause)),
            };
            match made {
                Ok(()) => {
                    tree.unreachable = None;
                    break;
                }
                Err(first) => drop(tree.unreachable.get_or_insert(first)),
            }
        }
    }
    (plan.sources, plan.pending) = (sources, pending);
    if lines.omitted() > 0 {
        info!(target: TARGET, "created {} more that are not listed", lines.omitted());
    }
    for need in plan.needs() {
        if let Some(status) = plan.status_after(need) {
            plan.set_status(need, status);
        }
    }
}

/// For each directory that something is missing in, how the mounts' sources lead to it: the container may be
/// able to reach it through one source, and not through another.
fn bases_of(plan: &Plan, count: usize) -> Vec<Vec<HostPlace>> {
    let mut all = vec![Vec::new(); count];
    let statuses = plan.needs().filter_map(|need| plan.status(need));
    for missing in statuses.filter_map(Status::missing) {
        if let Some(bases) = all.get_mut(missing.inode.tree()) {
            let base = missing.base();
            if bases.last() != Some(&base) {
                bases.push(base);
            }
        }
    }
    all
}
