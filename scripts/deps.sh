#!/bin/sh
# Installs the Debian packages that building, running or testing needs.
#
#   scripts/deps.sh build|run|vm|kernel|test|long|deb
#
# Prints what is missing before it installs it; does nothing, and needs no
# privilege, when all of it is there.  A freshly installed nginx is not
# started: the edge that `make run` brings up is its own process.
set -eu

set_wanted=${1:-run}

build="gcc make pkg-config libc6-dev nginx-dev libuv1-dev libjansson-dev
       libsqlite3-dev libssl-dev libseccomp-dev libarchive-dev
       libnftables-dev"
run="nginx crun e2fsprogs uidmap curl ca-certificates python3 util-linux iproute2"
test="perl clang valgrind nodejs node-ws python3-django mmdebstrap
      procps wrk chromium nghttp2-client git squashfs-tools openssl
      esbuild python3-ipython python3-matplotlib python3-pandas
      busybox-static erofs-utils python3-httpx python3-websockets nftables systemd"
vm="qemu-system-x86 squashfs-tools lz4 zstd kmod xz-utils binutils"
kernel="flex bison bc libelf-dev xz-utils"
long="buildah"
deb="build-essential debhelper dpkg-dev"

release=$(. /etc/os-release 2>/dev/null && echo "${VERSION_ID:-0}")
case "$release" in
    12) build="$build node-llhttp"; test="$test libclang-rt-14-dev" ;;
    13) build="$build libllhttp-dev"; test="$test libclang-rt-19-dev" ;;
    *)  echo "deps: this is not Debian 12 or 13; trying the names of 13" >&2
        build="$build libllhttp-dev" ;;
esac

case "$set_wanted" in
    build) wanted="$build" ;;
    run)   wanted="$build $run" ;;
    vm)    wanted="$build $run $vm" ;;
    kernel) wanted="$build $vm $kernel" ;;
    test)  wanted="$build $run $vm $test" ;;
    long)  wanted="$build $run $vm $test $kernel $long $deb" ;;
    deb)   wanted="$build $deb" ;;
    *)     echo "deps: unknown set '$set_wanted': build, run, vm, kernel," \
               "test, long, deb" >&2
           exit 2 ;;
esac

missing=
for package in $wanted; do
    # A program that is there already from elsewhere serves as well.
    case "$package" in
        nodejs) command -v node >/dev/null 2>&1 && continue ;;
    esac
    status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) \
        || status=
    case "$status" in
        ii*) ;;
        *)   missing="$missing $package" ;;
    esac
done

[ -n "$missing" ] || exit 0

echo "deps: installing with apt-get:$missing"

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "deps: need root or sudo to install:$missing" >&2
        exit 1
    }
    as_root=sudo
fi

# While it exists, policy-rc.d keeps packages from starting their services.
policy=/usr/sbin/policy-rc.d
made_policy=
drop_policy() {
    [ -z "$made_policy" ] || $as_root rm -f "$policy"
}
trap drop_policy EXIT INT TERM
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
    made_policy=1
fi

$as_root apt-get -q update
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y --no-install-recommends install $missing
