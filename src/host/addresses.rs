// SPDX-License-Identifier: Apache-2.0
//! The addresses of this host.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;

use super::read;

/// What addresses sockets can be bound to.
pub enum Addresses {
    /// All (ip(7), `ip_nonlocal_bind`).
    Any,
    /// These of IPv4.
    These(BTreeSet<Ipv4Addr>),
    /// That can't be told.
    Unknown,
}

/// The addresses of this host.
pub fn addresses() -> Addresses {
    let any = read("/proc/sys/net/ipv4/ip_nonlocal_bind");
    if any.is_some_and(|any| any.trim() != "0") {
        return Addresses::Any;
    }
    let Ok(all) = getifaddrs() else {
        return Addresses::Unknown;
    };
    let all = all.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    Addresses::These(all.collect())
}
