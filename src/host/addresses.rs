// SPDX-License-Identifier: Apache-2.0
//! The addresses of this host.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;

use super::read;

/// The host's IPv4 addresses; none if sockets may be bound to others too (ip(7), `ip_nonlocal_bind`), or if they can't
/// be told.
pub fn addresses() -> Option<BTreeSet<Ipv4Addr>> {
    let any = read("/proc/sys/net/ipv4/ip_nonlocal_bind");
    if any.is_none_or(|any| any.trim() != "0") {
        return None;
    }
    let all = getifaddrs().ok()?;
    let all = all.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    Some(all.collect())
}
