#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the packages from what `make` has built, for `make packages`:
#
#   packages.sh DIRECTORY RELEASE TARGET CARGO-DEB CARGO-GENERATE-RPM
#
# The same sources and the same program give the same bytes, wherever and whenever they are packaged.
set -eu
umask 022
export LC_ALL=C

packages=$(realpath -m "$1")
release=$2
target=$3
cargo_deb=$(realpath "$4")
cargo_generate_rpm=$(realpath "$5")
field() {
    sed -n "s/^$1 = \"\(.*\)\"/\1/p" Cargo.toml | head -n 1
}
version=$(field version)
architecture=${target%%-*}
name=premount-$version-$architecture-linux
program=target/$target/release/premount
generated=target/generated
in_repository() {
    [ -e .git ] && command -v git >/dev/null
}
# All files get the time of the last commit or, without a repository, the date of the man page.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH-$(
    if in_repository; then
        git log -1 --format=%ct
    else
        date -u -d "$(sed -n 's/^const DATE: &str = "\(.*\)";/\1/p' packaging/generate.rs)" +%s
    fi
)}
export SOURCE_DATE_EPOCH
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
revision=
if in_repository; then
    revision=$(git rev-parse HEAD)
    git diff --quiet HEAD || revision=$revision-dirty
fi

rm -rf "$packages"
mkdir -p "$packages"
gzip -9nc "$generated/premount.8" >"$generated/premount.8.gz"
# The software bill of materials. A pipe would hide that cargo has failed.
cargo tree --locked --edges normal --target "$target" --no-dedupe --prefix depth --format '|{p}|{l}' \
    >"$generated/tree"
"target/$target/debug/examples/sbom" "$created" Cargo.lock <"$generated/tree" >"$generated/premount.cdx.json"
cp "$generated/premount.cdx.json" "$packages/$name.cdx.json"

"$cargo_deb" --no-build --no-strip --target "$target" -Z gz \
    --deb-revision "$release" --output "$packages/"
packaging/deb/order.sh "$packages"/*.deb

# cargo-generate-rpm keeps the time of a file that is older than SOURCE_DATE_EPOCH: it gets copies.
mkdir "$packages/rpm"
cp -r --parents Cargo.toml src packaging docs hooks.d ./*.md LICENSE "$generated" "$program" "$packages/rpm"
find "$packages/rpm" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(
    cd "$packages/rpm"
    unset CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR
    "$cargo_generate_rpm" --target "$target" --set-metadata "release = \"$release\"" --output "$packages/"
)
rm -r "$packages/rpm"

# The tarball: its contents are installed with `premount install`, as the README says.
mkdir -p "$packages/$name"
cp "$program" "$generated/premount.8" "$generated/premount.bash" \
    "$generated/_premount" "$generated/premount.fish" "$generated/premount.cdx.json" LICENSE README.md \
    CHANGELOG.md SECURITY.md "$packages/$name"
cp -r docs hooks.d "$packages/$name"
mkdir "$packages/$name/criu"
cp packaging/criu/*.conf "$packages/$name/criu"
chmod -R u=rwX,go=rX "$packages/$name"
tar -c -C "$packages" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --format=gnu "$name" | gzip -9n >"$packages/$name.tar.gz"
rm -r "${packages:?}/$name"

# The image's build context: podman build DIRECTORY/image. What is not known is no label.
label() {
    if [ -n "$2" ]; then
        echo "LABEL org.opencontainers.image.$1=\"$2\""
    fi
}
mkdir "$packages/image"
cp "$program" "$generated/premount.cdx.json" packaging/Containerfile "$packages/image"
{
    label version "$version"
    label licenses "$(field license)"
    label created "$created"
    label revision "$revision"
    label source "$(field repository)"
    label url "$(field homepage)"
} >>"$packages/image/Containerfile"
find "$packages/image" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +

cd "$packages"
sha256sum ./*.deb ./*.rpm ./*.tar.gz ./*.cdx.json | sed 's|\./||' >SHA256SUMS
