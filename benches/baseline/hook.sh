#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The baseline of today: a createRuntime hook in bash with jq and mkdir, as one writes it by hand. It
# takes a mount's mountpoint to lie in the source of the longest destination above it. It knows one link,
# /var/run, and follows all others on the host: not for use.
set -euo pipefail

state=$(cat)
[ "$(jq -r '.annotations["io.premount.restore"] // ""' <<<"$state")" = true ] || exit 0
bundle=$(jq -r .bundle <<<"$state")
cd "$bundle"

rootfs=$(jq -r .root.path config.json)
destinations=() types=() sources=()
while IFS=$'\t' read -r destination type source; do
    destination=${destination%/}
    case $destination in
        /var/run/*) destination=${destination#/var} ;;
    esac
    destinations+=("$destination")
    types+=("$type")
    sources+=("$source")
done < <(jq -r '.mounts[]
    | [.destination,
       (if .type == "bind" or ((.options // []) | any(. == "bind" or . == "rbind")) then "bind" else .type end),
       .source] | @tsv' config.json)

for i in "${!destinations[@]}"; do
    destination=${destinations[i]}
    # What covers it: of the mounts before it, the last of the longest destination above.
    cover=-1 length=0
    for ((j = 0; j < i; j++)); do
        above=${destinations[j]}
        if [[ $destination == "$above"/* ]] && ((${#above} >= length)); then
            cover=$j length=${#above}
        fi
    done
    if ((cover < 0)); then
        target=$rootfs$destination
    elif [ "${types[cover]}" = bind ]; then
        target=${sources[cover]}${destination:length}
    else
        # CRIU restores what is in a tmpfs, and a kernel file system has its own.
        continue
    fi
    if [ "${types[i]}" = bind ] && [ -f "${sources[i]}" ]; then
        if [ ! -e "$target" ]; then
            mkdir -p "$(dirname "$target")"
            touch "$target"
        fi
    else
        mkdir -p "$target"
    fi
done
