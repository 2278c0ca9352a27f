#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `make demo` runs, inside a Debian 13 root of its own: a container is checkpointed, its host
# side is emptied, and it is restored, without premount and with it.
set -eu

bold=$(printf '\033[1m') plain=$(printf '\033[0m')
[ -t 1 ] || bold='' plain=''
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# Shows a command, and runs it.
run() {
    printf '  $ %s\n' "$*"
    "$@" 2>&1 | sed 's/^/  /'
}
# What of CRIU's log counts, without the time stamps.
criu_says() { grep -h -E "$1" /w/criu/restore.log | sed -E 's/^\([0-9.]+\) +([0-9]+: )?/  CRIU: /'; }
counted() { cat /w/bundle/rootfs/count; }

# Calls a runtime. The container's standard streams are /dev/null, which CRIU can restore anywhere;
# what the runtime says is in a log.
call() {
    runtime=$1
    shift
    rm -f /w/log
    "$runtime" --log /w/log "$@" </dev/null >/dev/null 2>&1
}
must() { "$@" || { cat /w/log /w/criu/*.log >&2; exit 1; }; }

# bundle MOUNTS [HOOKS]: a bundle whose process counts, in its file /count.
bundle() {
    rm -rf /w/bundle /w/images /w/criu
    mkdir -p /w/bundle/rootfs/bin /w/images /w/criu /etc/criu
    cp /bin/busybox /w/bundle/rootfs/bin/
    for applet in sh sleep echo; do ln -s busybox "/w/bundle/rootfs/bin/$applet"; done
    cat >/w/bundle/config.json <<CONFIG
{
  "ociVersion": "1.0.2",
  "process": {
    "user": {"uid": 0, "gid": 0},
    "args": ["/bin/sh", "-c", "i=0; while :; do i=\$((i+1)); echo \$i > /count; sleep 0.02; done"],
    "env": ["PATH=/bin"],
    "cwd": "/"
  },
  "root": {"path": "rootfs"},
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    $1
  ],
  ${2-}
  "linux": {
    "cgroupsPath": "/premount-demo",
    "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]
  }
}
CONFIG
}

# restore RUNTIME
restore() {
    runtime=$1
    set --
    # What runc 1.1 has no option for is in its CRIU configuration.
    [ "$runtime" = runc ] || set -- --manage-cgroups-mode ignore
    printf '  $ %s restore --image-path /w/images --bundle /w/bundle c1\n' "$runtime"
    call "$runtime" restore --detach --image-path /w/images --work-path /w/criu "$@" \
        --bundle /w/bundle c1
}

checkpoint() {
    runtime=$1
    set --
    [ "$runtime" = runc ] || set -- --manage-cgroups-mode ignore
    must call "$runtime" checkpoint --image-path /w/images --work-path /w/criu "$@" c1
}

end() { call "$1" delete --force c1 || :; }

# case_of RUNTIME TRIGGER-COMMAND: starts, checkpoints, empties, fails, triggers, restores.
case_of() {
    runtime=$1
    mkdir -p /w/volume
    mount -t tmpfs tmpfs /w/volume
    must call "$runtime" run --detach --bundle /w/bundle c1
    sleep 0.5
    say "A container by $runtime, its mounts and where their mountpoints live on the host:"
    run premount plan --bundle /w/bundle
    checkpoint "$runtime"
    say "It counted to $(counted). Now it is checkpointed, and /w/volume on the host is new and empty:"
    umount /w/volume
    mount -t tmpfs tmpfs /w/volume
    run premount plan --bundle /w/bundle

    say "Restored without premount:"
    if restore "$runtime"; then
        echo "  it succeeds, and should have failed" >&2
        exit 1
    fi
    criu_says "Can't stat mountpoint"
    end "$runtime"

    say "Restored with premount, $2:"
    $3
    restore "$runtime" || { cat /w/log /w/criu/restore.log; exit 1; }
    # The action script's lines are in CRIU's log, a hook's with the runtime.
    grep -h " premount: " /w/criu/restore.log | sed 's/^/  CRIU: /' || :
    say "And the process counts on:"
    sleep 0.3
    echo "  $(counted)"
    sleep 0.3
    echo "  $(counted)"
    run find /w/volume -mindepth 1
    end "$runtime"
    umount /w/volume
}

mkdir -p /w /etc/criu
PATH=$PATH:/usr/libexec/oci/hooks.d
echo manage-cgroups=ignore >/etc/criu/runc.conf

# The case of opencontainers/runc issue 2748.
crun_trigger() {
    run sh -c "echo action-script /usr/libexec/oci/hooks.d/premount >/etc/criu/default.conf"
}
bundle '{"destination": "/test", "type": "bind", "source": "/w/volume", "options": ["bind"]},
    {"destination": "/test/lower/directory", "type": "tmpfs", "source": "tmpfs"}'
case_of crun "as CRIU's action script" crun_trigger
rm /etc/criu/default.conf

# runc prepares binds itself, but not below a tmpfs.
mounts='{"destination": "/run", "type": "tmpfs", "source": "tmpfs"},
    {"destination": "/run/secrets", "type": "bind", "source": "/w/volume", "options": ["bind"]},
    {"destination": "/run/secrets/kubernetes.io", "type": "tmpfs", "source": "tmpfs"}'
hooks='"annotations": {"io.premount.restore": "true"},
  "hooks": {"createRuntime": [{
    "path": "/usr/libexec/oci/hooks.d/premount", "args": ["premount", "hook"], "timeout": 10
  }]},'
runc_trigger() {
    # The same configuration, with the hook that hooks.d/premount.json adds.
    sed -i "s|\"linux\": {|$(printf '%s' "$hooks" | tr '\n' ' ')\n  \"linux\": {|" /w/bundle/config.json
    echo "  (the bundle's configuration has the annotation io.premount.restore and the hook now)"
}
bundle "$mounts"
case_of runc "as an OCI hook" runc_trigger

say "Done: both restores failed without premount, and succeeded with it."
