#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts the binary first in a package built by cargo-deb: SOURCE_DATE_EPOCH=TIME order.sh PACKAGE
#
# dpkg installs files in the order of the archive and removes them in the reverse order. cargo-deb sorts
# executables last: the hook's JSON would then be there before and after the program that it names. A running
# CRI-O would skip the hook at the installation, and go on without it, and at the removal fail the containers that
# the hook applies to.
set -eu

package=$(realpath "$1")
binary=./usr/libexec/oci/hooks.d/premount
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$work"
ar x "$package"
mkdir data
tar -xpf data.tar.gz -C data
{
    dirname "$binary" | awk -F/ '{ path = $1; for (i = 2; i <= NF; i++) print path = path "/" $i }'
    echo "$binary"
    tar -tf data.tar.gz | sed 's|/$||'
} | awk '!seen[$0]++' >order
tar -cf data.tar -C data --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --no-recursion --owner=0 --group=0 --numeric-owner -T order
gzip -9n <data.tar >data.tar.gz
rm "$package"
ar rcD "$package" debian-binary control.tar.gz data.tar.gz
