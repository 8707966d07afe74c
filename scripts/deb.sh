#!/bin/bash
# Builds Debian packages for the release that this machine runs, from a copy of
# the tree, in build/deb: the sources stay as they are.
#
#   scripts/deb.sh VERSION
#
# The release is part of the version (0.1.0+deb12): the module fits one nginx,
# and an upgrade of Debian brings the packages that belong to it.
set -eu

cd "$(dirname "$0")/.."
version=$1
out=$PWD/build/deb
copy=$out/nginx-sandbox-$version

release=$(. /etc/os-release 2>/dev/null && echo "${VERSION_ID:-}")

rm -rf "$out"
mkdir -p "$copy"
cp -a Makefile config agent common conf-examples debian docs \
    ngx_sandbox_module sandboxd scripts "$copy"

[ "$version" = "$(dpkg-parsechangelog -l debian/changelog -S Version)" ] || {
    echo "deb: debian/changelog is not at version $version" >&2
    exit 1
}
sed -i "1s/($version)/($version${release:++deb$release})/" \
    "$copy/debian/changelog"

cd "$copy"
echo "deb: the log is build/deb/build.log"
dpkg-buildpackage --build=binary --no-sign ${DEB_CHECK:+"$DEB_CHECK"} \
    >"$out/build.log" 2>&1 || {
    tail -n 30 "$out/build.log" >&2
    exit 1
}

cd ..
rm -rf "$copy"
ls ./*.deb | sed 's|^\./|build/deb/|'
