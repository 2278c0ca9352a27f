#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the packages from what `make` has built, for `make packages`:
#
#   packages.sh DIRECTORY RELEASE TARGET CARGO-DEB CARGO-GENERATE-RPM
#
# The same sources and the same compiler give identical packages (except that the rpm keeps the times of
# files that are older than the last commit).
set -eu

packages=$1
release=$2
target=$3
cargo_deb=$4
cargo_generate_rpm=$5
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
architecture=${target%%-*}
generated=target/generated
# All files get the time of the last commit or, without a repository, of the sources.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH

rm -rf "$packages"
mkdir -p "$packages"
gzip -9nc "$generated/premount.8" >"$generated/premount.8.gz"

"$cargo_deb" --no-build --no-strip --target "$target" -Z gz \
    --deb-revision "$release" --output "$packages/"
packaging/deb/order.sh "$packages"/*.deb

"$cargo_generate_rpm" --target "$target" --set-metadata "release = \"$release\"" --output "$packages/"

# The tarball: its contents are installed with `premount install`, as the README says.
name=premount-$version-$architecture-linux
mkdir -p "$packages/$name"
cp "target/$target/release/premount" "$generated/premount.8" "$generated/premount.bash" \
    "$generated/_premount" "$generated/premount.fish" LICENSE README.md CHANGELOG.md SECURITY.md \
    "$packages/$name"
cp -r docs hooks.d "$packages/$name"
mkdir "$packages/$name/criu"
cp packaging/criu/*.conf "$packages/$name/criu"
chmod -R u=rwX,go=rX "$packages/$name"
tar -c -C "$packages" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --format=gnu "$name" | gzip -9n >"$packages/$name.tar.gz"
rm -r "${packages:?}/$name"

# The image's build context: podman build DIRECTORY/image
mkdir "$packages/image"
cp "target/$target/release/premount" packaging/Containerfile "$packages/image"

cd "$packages"
sha256sum ./*.deb ./*.rpm ./*.tar.gz | sed 's|\./||' >SHA256SUMS
