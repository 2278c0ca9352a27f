// SPDX-License-Identifier: Apache-2.0
//! The sockets of a checkpoint that need something of the host: an address, an option of CRIU's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::messages::InetSocket;

/// Maximum number of addresses that are kept: no container is bound to as many.
const MOST: usize = 256;
/// Maximum bytes of a socket's name (unix(7)).
const MAX_NAME: usize = 108;
/// `AF_INET` (address_families(7)).
const IPV4: u32 = 2;
/// `IPPROTO_TCP` and `IPPROTO_ICMP`.
const TCP: u32 = 6;
const ICMP: u32 = 1;

/// Sockets, as far as they need something of the host.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// How many TCP connections there are, and one of them if it is of IPv4: from where to where.
    pub connections: usize,
    pub connection: Option<[(Ipv4Addr, u16); 2]>,
    /// The IPv4 addresses that connections come from.
    pub connected_addresses: BTreeSet<Ipv4Addr>,
    /// The IPv4 addresses that other sockets are bound to, without those that any host has.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// The name of a Unix socket outside of the container that one in it is connected to.
    pub external: Option<Vec<u8>>,
}

impl Sockets {
    pub(super) fn add(&mut self, socket: &InetSocket) {
        let address = |words: &[u32]| match (socket.family, words) {
            // In memory as on the wire.
            (IPV4, [word, ..]) => Some(Ipv4Addr::from(word.to_ne_bytes())),
            _ => None,
        };
        let port = |port: u32| u16::try_from(port).unwrap_or_default();
        // As CRIU tells a connection (CRIU criu/sk-inet.c, `tcp_connection`).
        if socket.proto == TCP && socket.dst_port != 0 {
            self.connections += 1;
            keep(&mut self.connected_addresses, address(&socket.src_addr));
            let ends = address(&socket.src_addr).zip(address(&socket.dst_addr));
            if let (None, Some((from, to))) = (self.connection, ends) {
                self.connection =
                    Some([(from, port(socket.src_port)), (to, port(socket.dst_port))]);
            }
            return;
        }
        // CRIU doesn't bind those for ping(8).
        if socket.proto == ICMP {
            return;
        }
        // CRIU binds those of IPv6 to any address (`IP_FREEBIND`).
        let bound = address(&socket.src_addr).filter(|_| socket.src_port != 0);
        keep(&mut self.addresses, bound);
    }

    pub(super) fn add_external(&mut self, name: &[u8]) {
        let name = name.get(..name.len().min(MAX_NAME)).unwrap_or_default();
        self.external.get_or_insert_with(|| name.to_owned());
    }
}

/// Keeps an address, unless each host has it.
fn keep(all: &mut BTreeSet<Ipv4Addr>, address: Option<Ipv4Addr>) {
    let is_anywhere = |at: &Ipv4Addr| {
        at.is_unspecified() || at.is_loopback() || at.is_multicast() || at.is_broadcast()
    };
    if all.len() < MOST {
        all.extend(address.filter(|at| !is_anywhere(at)));
    }
}
