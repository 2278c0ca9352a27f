#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks that the program builds with Debian 13's own cargo, which is the oldest that premount supports
# (rust-version in Cargo.toml), in a root that has it. Run it as root, in a mount namespace of its own:
#
#   unshare --mount msrv.sh ROOT
set -eu

root=${1:?usage: msrv.sh ROOT}
registry=${CARGO_HOME:-$HOME/.cargo}/registry
set -- "$registry"/index/index.crates.io-*
if [ ! -d "$1" ]; then
    echo "skipped: cargo takes its crates from another place than crates.io, where the root's cargo would look" >&2
    exit 0
fi
mount --make-rprivate /
mount --bind "$root" "$root"
mkdir -p "$root/src" "$root/cargo"
mount --bind . "$root/src"
# The crates that the build with today's cargo has fetched; nothing is fetched here.
mount --bind "$registry" "$root/cargo"
mount --bind /dev "$root/dev"
exec chroot "$root" env -i PATH=/usr/bin:/bin HOME=/root \
    sh -c 'mkdir -p /root/.cargo && ln -sfn /cargo /root/.cargo/registry && cd /src &&
        exec cargo check --locked --offline --target-dir target/msrv'
