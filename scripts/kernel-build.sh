#!/bin/bash
# Builds the kernel of virtual machines from Debian's source package, with
# everything built in that scripts/kernel.config names, for the directory that
# sandboxd --kernel takes.
#
#   scripts/kernel-build.sh DIR            fetch, build, and forget the source
#   scripts/kernel-build.sh --check DIR    nothing but the configuration, for
#                                          the source that is in DIR/source
#
#   DIR/vmlinux      the kernel, as a VMM boots it without a loader
#   DIR/modules, DIR/vsock    empty: there are none
#   DIR/no-acpi      it finds its devices by its command line: ACPI wants PCI,
#                    and takes time
#   DIR/config       all options
#   DIR/version
#
# KERNEL_SOURCE names a directory with an unpacked source, which is used
# instead and stays; JOBS how many compilers run at once.
set -eu

check=
[ "${1:-}" != --check ] || { check=1; shift; }
dir=${1:?usage: scripts/kernel-build.sh [--check] DIR}
fragment=$(cd "$(dirname "$0")" && pwd)/kernel.config

fail() {
    echo "kernel: $*" >&2
    exit 1
}

# Options that a later kernel has another name for: one of both has to be
# there.
renamed="SPECULATION_MITIGATIONS=CPU_MITIGATIONS
    PAGE_TABLE_ISOLATION=MITIGATION_PAGE_TABLE_ISOLATION
    RETPOLINE=MITIGATION_RETPOLINE RETHUNK=MITIGATION_RETHUNK
    CPU_UNRET_ENTRY=MITIGATION_UNRET_ENTRY
    CPU_IBPB_ENTRY=MITIGATION_IBPB_ENTRY CPU_IBRS_ENTRY=MITIGATION_IBRS_ENTRY
    CPU_SRSO=MITIGATION_SRSO"

[ "$(uname -m)" = x86_64 ] || fail "only for x86-64"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
exec 9>"$dir/lock"
flock 9

work=$(mktemp -d "$dir/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The source, as Debian has patched it.
fetch() {
    local name
    name=$(apt-cache depends linux-source 2>/dev/null \
        | sed -n 's/.*Depends: \(linux-source-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$name" ] || fail "apt knows no linux-source"
    # apt fetches as a user of its own where it can.
    (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$name") \
        >"$work/log" 2>&1 \
        || { cat "$work/log" >&2; fail "$name can't be fetched"; }
    dpkg-deb --fsys-tarfile "$work"/*.deb \
        | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' \
        | tar -C "$work" -xJ || fail "$name can't be unpacked"
    rm -f "$work"/*.deb
    source=$(echo "$work"/linux-source-*)
}

# Whatever machine builds it, and when.
run_make() {
    make -C "$source" O="$work/out" ARCH=x86_64 LOCALVERSION= \
        KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00' KBUILD_BUILD_USER=root \
        KBUILD_BUILD_HOST=sandbox KBUILD_BUILD_VERSION=1 "$@" \
        >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; return 1; }
}

has() {
    grep -qxF "CONFIG_$1" "$work/out/.config"
}

other_name() {
    local pair
    for pair in $renamed; do
        [ "$1" != "${pair%=*}" ] || echo "${pair#*=}"
        [ "$1" != "${pair#*=}" ] || echo "${pair%=*}"
    done
}

# Kconfig drops without a word what can't be as it was asked for.
configure() {
    local line name other bad=
    mkdir -p "$work/out"
    run_make KCONFIG_ALLCONFIG="$fragment" allnoconfig \
        || fail "it can't be configured"
    run_make olddefconfig || fail "it can't be configured"
    while IFS= read -r line; do
        case "$line" in
            CONFIG_*=*)
                line=${line#CONFIG_}
                name=${line%%=*}
                has "$line" && continue
                other=$(other_name "$name")
                [ -z "$other" ] || ! has "$other=y" || continue
                bad="$bad $line"
                ;;
            '# CONFIG_'*' is not set')
                name=${line#\# CONFIG_}
                name=${name%% *}
                ! grep -qE "^CONFIG_$name=" "$work/out/.config" \
                    || bad="$bad $name=n"
                ;;
        esac
    done <"$fragment"
    [ -z "$bad" ] || fail "options that are not as asked for:$bad"
    ! grep -q '=m$' "$work/out/.config" || fail "there are modules"
}

source=${KERNEL_SOURCE:-$dir/source}
if [ -n "$check" ]; then
    [ -e "$source/Makefile" ] || fail "no source in $source"
    configure
    exit 0
fi
[ ! -e "$dir/version" ] || exit 0
for program in flex bison bc; do
    [ -x "$(command -v $program)" ] \
        || fail "$program is missing (scripts/deps.sh kernel)"
done
[ -e "$source/Makefile" ] || fetch

configure
run_make -j"${JOBS:-$(nproc)}" vmlinux || fail "it can't be built"

strip -o "$work/vmlinux" "$work/out/vmlinux"
mkdir "$work/modules" "$work/vsock"
rm -rf "$dir/modules" "$dir/vsock"
mv "$work/modules" "$work/vsock" "$work/vmlinux" "$dir/"
cp "$work/out/.config" "$dir/config"
: >"$dir/no-acpi"
cp "$work/out/include/config/kernel.release" "$dir/version.new"
mv "$dir/version.new" "$dir/version"
