#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a Debian 13 root with runc, crun and CRIU for the end-to-end tests and the demo, once. The
# runtimes of the machine itself are neither used nor touched.
#
#   root.sh DIRECTORY                          Debian 13 as it is
#   root.sh DIRECTORY SUITE BASE [PACKAGES]    BASE, with packages of a suite: the runtimes and CRIU
#                                              unless others are named
set -eu

root=${1:?usage: root.sh DIRECTORY [SUITE BASE]}
suite=${2-}
base=${3-}
added=${4-}
runtimes="runc crun criu libcriu2"
# The engines and what they need; a journal; what checks what premount is shipped as.
packages="$runtimes busybox-static containerd docker-cli docker.io iproute2 iptables kustomize mandoc podman rpm systemd"

# What is there is used again as long as it has been made by this very script.
stamp="$root.made-by"
made_by=$(cksum <"$0")
if [ -d "$root" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$made_by" ]; then
    exit 0
fi

new="$root.new"
mkdir -p "$(dirname "$root")"
rm -rf --one-file-system "$new" "$root" "$stamp"

from_base() {
    cp -a --one-file-system "$base" "$new"
    echo "deb $(sed -n 's/^deb \([^ ]*\) .*/\1/p' "$new/etc/apt/sources.list" | head -n 1) $suite main" \
        >"$new/etc/apt/sources.list"
    for step in update "install --yes --no-install-recommends ${added:-$runtimes}" clean; do
        # shellcheck disable=SC2086 # The words of a step are words.
        DEBIAN_FRONTEND=noninteractive chroot "$new" \
            apt-get -o Acquire::Check-Valid-Until=false $step
    done
}

if [ -n "$suite" ]; then
    echo "Making a root with ${added:-the runtimes} of Debian $suite in $root (once)" >&2
    from_base >"$root.log" 2>&1 </dev/null || failed=yes
else
    echo "Making a Debian 13 root in $root (some 40 seconds, once)" >&2
    debootstrap --variant=minbase --include="$(echo "$packages" | tr ' ' ,)" trixie "$new" \
        >"$root.log" 2>&1 || failed=yes
fi
if [ -n "${failed-}" ]; then
    tail -n 20 "$root.log" >&2
    exit 1
fi
mv "$new" "$root"
echo "$made_by" >"$stamp"
