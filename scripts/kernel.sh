#!/bin/bash
# Makes the directory that sandboxd --kernel takes: Debian's kernel for clouds,
# fetched and unpacked but not installed.
#
#   scripts/kernel.sh DIR
#
#   DIR/vmlinux            the kernel, as a VMM boots it without a loader
#   DIR/modules/NN-NAME.ko what a guest loads before it has a root, in order
#   DIR/modules/erofs/NN-NAME.ko
#                          and for an image that is no squashfs
#   DIR/modules/fuse/NN-NAME.ko
#                          and when somebody opens /dev/fuse
#   DIR/vsock/NN-NAME.ko   and then where its agent listens on vsock
#   DIR/version
#
# KERNEL_MODULES names more modules.
set -eu

dir=${1:?usage: scripts/kernel.sh DIR}

# With those that they need; what is built into the kernel is left out.
modules="virtio_mmio virtio_blk virtio_net overlay squashfs virtio_balloon"
modules="$modules ${KERNEL_MODULES:-}"
erofs="crc32c_generic erofs"
fuse=fuse
vsock="vmw_vsock_virtio_transport virtio-rng"

fail() {
    echo "kernel: $*" >&2
    exit 1
}

[ "$(uname -m)" = x86_64 ] || fail "only for x86-64"
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
[ ! -e "$dir/version" ] || exit 0

work=$(mktemp -d "$dir/unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT

name=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null \
    | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
[ -n "$name" ] || fail "apt knows no linux-image-cloud-amd64"

# apt fetches as a user of its own where it can.
(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$name") \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "$name can't be fetched"; }
dpkg-deb -x "$work"/*.deb "$work/tree"
# Since Debian 13 its modules are in /usr/lib.
[ -e "$work/tree/lib" ] || ln -s usr/lib "$work/tree/lib"

image=$(echo "$work"/tree/boot/vmlinuz-*)
base=$(echo "$work"/tree/lib/modules/*)

# The boot protocol says where the compressed kernel is; its last four bytes
# are its length.
number() {
    od -An -j "$1" -N "$2" -t "u$2" "$image" | tr -d ' '
}
sectors=$(number $((0x1f1)) 1)
[ "$sectors" -ne 0 ] || sectors=4
start=$(((sectors + 1) * 512 + $(number $((0x248)) 4)))
length=$(number $((0x24c)) 4)
payload() {
    tail -c +$((start + 1)) "$image" | head -c $((length - 4))
}
case "$(payload | head -c 4 | od -An -t x1 | tr -d ' ')" in
    02214c18) unpack="lz4 -dc" ;;
    1f8b*)    unpack="gzip -dc" ;;
    fd377a58) unpack="xz -dc" ;;
    28b52ffd) unpack="zstd -dc" ;;
    *)        fail "$name is compressed in an unknown way" ;;
esac
command -v "${unpack%% *}" >/dev/null \
    || fail "$name is to be unpacked with ${unpack%% *}, which is missing"
payload | $unpack >"$work/vmlinux" 2>/dev/null || true
[ "$(head -c 4 "$work/vmlinux" | tail -c 3)" = ELF ] \
    || fail "$name can't be unpacked (${unpack%% *})"

# To be loaded is to be hashed, relocated, and looked through: without what only
# debuggers and BPF programs read, and without a signature that nothing asks
# for, it takes half the time.
unpack_module() {
    case "$1" in
        *.xz) xz -dc "$base/$1" >"$work/module" ;;
        *)    cp "$base/$1" "$work/module" ;;
    esac
    objcopy --strip-debug -R .BTF -R .BTF_ids "$work/module" "$2"
}

# Before a module come those that it needs.
tree=$work/kernel
mkdir -p "$tree/modules/erofs" "$tree/modules/fuse" "$tree/vsock"
count=10
add() {
    local to=$1 file=$2 need base_name
    base_name=$(basename "${file%%.ko*}")
    [ -z "$(find "$tree" -name "*-$base_name.ko")" ] || return 0
    for need in $(sed -n "s|^$file:||p" "$base/modules.dep"); do
        add "$to" "$need"
    done
    count=$((count + 1))
    unpack_module "$file" "$tree/$to/$count-$base_name.ko"
}
[ -s "$base/modules.dep" ] || depmod -b "$work/tree" "$(basename "$base")" \
    2>/dev/null || fail "depmod is missing (package kmod)"
command -v objcopy >/dev/null || fail "objcopy is missing (package binutils)"
add_all() {
    local to=$1 module file
    shift
    for module; do
        file=$(sed -n "s|^\([^:]*/$module\.ko[^:]*\):.*|\1|p" \
            "$base/modules.dep" | head -n 1)
        if [ -n "$file" ]; then
            add "$to" "$file"
        elif ! grep -q "/$module.ko" "$base/modules.builtin"; then
            fail "$name has no module $module"
        fi
    done
}
add_all modules $modules
add_all modules/erofs $erofs
add_all modules/fuse $fuse
add_all vsock $vsock

rm -rf "$dir/modules" "$dir/vsock"
mv "$tree/modules" "$tree/vsock" "$work/vmlinux" "$dir/"
printf '%s\n' "$name" >"$dir/version"
