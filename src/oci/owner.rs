// SPDX-License-Identifier: Apache-2.0
//! The owner of created mountpoints: the container's root, whose capabilities are limited to its own user
//! namespace.

use oci_spec::runtime::LinuxIdMapping;

use super::process::User;

/// The container's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user ID on the host.
    pub uid: u32,
    /// The group ID on the host.
    pub gid: u32,
    /// The users and groups of the container's user namespace; None without one.
    pub mapped: Option<Mapped>,
}

/// The users and groups that a user namespace maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    uids: Vec<Range>,
    gids: Vec<Range>,
}

/// A range of IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    /// The first, in the container.
    inside: u32,
    /// The first, on the host.
    outside: u32,
    /// How many.
    size: u32,
}

impl Owner {
    /// The root of a container with these mappings (runtime-spec config-linux.md, "User namespace mappings").
    pub fn of(uids: Option<&[LinuxIdMapping]>, gids: Option<&[LinuxIdMapping]>) -> Self {
        let (uids, gids) = (uids.unwrap_or_default(), gids.unwrap_or_default());
        let ranges = |all: &[LinuxIdMapping]| {
            all.iter()
                .map(|map| Range {
                    inside: map.container_id(),
                    outside: map.host_id(),
                    size: map.size(),
                })
                .collect::<Vec<_>>()
        };
        Self {
            uid: mapped_root(uids),
            gid: mapped_root(gids),
            mapped: (!uids.is_empty() || !gids.is_empty()).then(|| Mapped {
                uids: ranges(uids),
                gids: ranges(gids),
            }),
        }
    }
}

impl Owner {
    /// A user of the container by its IDs on the host; none if its namespace doesn't map them. Groups that it
    /// doesn't map are left out.
    pub fn on_host(&self, user: &User) -> Option<User> {
        let Some(Mapped { uids, gids }) = &self.mapped else {
            return Some(user.clone());
        };
        let groups = user.groups.iter().filter_map(|&id| on_host(gids, id));
        Some(User {
            uid: on_host(uids, user.uid)?,
            gid: on_host(gids, user.gid)?,
            groups: groups.collect(),
        })
    }
}

fn on_host(ranges: &[Range], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let at = id.checked_sub(range.inside)?;
        (at < range.size).then_some(range.outside.checked_add(at)?)
    })
}

impl Mapped {
    /// Whether the capabilities of the namespace's root apply to an inode with this owner and group: only if
    /// both are mapped (user_namespaces(7), "Capabilities").
    pub fn has(&self, uid: u32, gid: u32) -> bool {
        let is_in = |ranges: &[Range], id: u32| {
            ranges.iter().any(|range| {
                let at = id.checked_sub(range.outside);
                at.is_some_and(|at| at < range.size)
            })
        };
        is_in(&self.uids, uid) && is_in(&self.gids, gid)
    }
}

/// The host ID of the container's ID 0 (user_namespaces(7)); 0 without a mapping.
fn mapped_root(mappings: &[LinuxIdMapping]) -> u32 {
    let root = |map: &&LinuxIdMapping| map.container_id() == 0 && map.size() > 0;
    mappings
        .iter()
        .find(root)
        .map_or(0, LinuxIdMapping::host_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mappings(json: &str) -> Vec<LinuxIdMapping> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_root_of_a_namespace_has_power_over_what_it_has_numbers_for() {
        let uids = mappings(
            r#"[{"containerID":1,"hostID":5,"size":1},
                {"containerID":0,"hostID":7,"size":0},
                {"containerID":0,"hostID":100000,"size":10}]"#,
        );
        let gids = mappings(r#"[{"containerID":0,"hostID":4294967290,"size":5}]"#);
        let owner = Owner::of(Some(&uids), Some(&gids));
        assert_eq!((owner.uid, owner.gid), (100_000, 4_294_967_290));
        let mapped = owner.mapped.clone().unwrap();
        for (uid, gid, has) in [
            (100_000, 4_294_967_290, true),
            (100_009, 4_294_967_294, true),
            (5, 4_294_967_290, true),
            (100_010, 4_294_967_290, false),
            (99_999, 4_294_967_290, false),
            (6, 4_294_967_290, false),
            (100_000, 4_294_967_295, false),
            (100_000, 0, false),
            (0, 0, false),
        ] {
            assert_eq!(mapped.has(uid, gid), has, "{uid} {gid}");
        }
        assert_eq!(Owner::of(None, Some(&[])), Owner::default());
        let user = |uid, gid, groups: &[u32]| User {
            uid,
            gid,
            groups: groups.to_vec(),
        };
        let inside = user(9, 4, &[1, 5, 4]);
        assert_eq!(
            owner.on_host(&inside),
            Some(user(
                100_009,
                4_294_967_294,
                &[4_294_967_291, 4_294_967_294]
            ))
        );
        assert_eq!(owner.on_host(&user(10, 0, &[])), None);
        assert_eq!(owner.on_host(&user(0, 5, &[])), None);
        assert_eq!(Owner::default().on_host(&inside), Some(inside));
        // With user mappings only, the namespace maps no group.
        let mapped = Owner::of(Some(&uids), None).mapped.unwrap();
        assert!(!mapped.has(100_000, 0));
    }
}
