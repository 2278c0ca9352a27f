#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a program inside the Debian 13 root, in mount and PID namespaces of its own: with the program
# end all containers and mounts that it made, and the root stays as it was. As root:
#
#   unshare --mount --pid --fork --kill-child enter.sh ROOT [-f FILE=PATH]... PROGRAM [ARGUMENT]...
#
# -f puts a file of the host at a path in the root.
set -eu

root=$1
shift
mount --make-rprivate /

# Everything is written to a tmpfs over the root. It is mounted on an empty directory of the system's,
# in this namespace alone.
space=/mnt
mount -t tmpfs -o size=2g premount-test "$space"
mkdir "$space/upper" "$space/work" "$space/root"
mount -t overlay -o "lowerdir=$root,upperdir=$space/upper,workdir=$space/work" overlay "$space/root"
while [ "${1-}" = -f ]; do
    mkdir -p "$(dirname "$space/root/${2#*=}")"
    cp "${2%%=*}" "$space/root/${2#*=}"
    shift 2
done

cd "$space/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys
# One hierarchy, and that the second version: crun refuses a hybrid one.
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs run run
mount -t tmpfs tmp tmp
# CRIU finds no parent for its mounts in a chroot: the root has to be the namespace's own.
mkdir -p mnt/old
pivot_root . mnt/old
cd /
umount -l /mnt/old

# Not exec: process 1 stays a shell, which collects what becomes an orphan.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
exit $?
