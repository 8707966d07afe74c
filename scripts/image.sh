#!/bin/bash
# Makes an image for virtual machines: a file with a read-only file system.
#
#   scripts/image.sh FILE dir:DIR             what is in a directory
#   scripts/image.sh FILE host:PACKAGE,...    this machine's own files of these
#                                             packages and what they need
#   scripts/image.sh FILE debian:PACKAGE,...  a small Debian with them, fetched
#                                             by mmdebstrap
#   scripts/image.sh FILE tar:PATH            what is in a tar file
#   scripts/image.sh FILE oci:IMAGE           an OCI image that buildah has
#   scripts/image.sh FILE layout:DIR          an OCI layout, by buildah
#   scripts/image.sh FILE archive:PATH        an OCI archive, by buildah
#   scripts/image.sh FILE docker:PATH         docker's archive, by buildah
#   scripts/image.sh FILE dockerfile:PATH     what buildah makes of it, with the
#                                             current directory as its context
#
# BUILDAH says how buildah is called ("buildah"), BUILD_ARGS what "buildah bud"
# is given.  AGENT is a program that is put into images without an agent, as
# /sandbox-agent; with ALL_ROOT all files are root's; MAX_SIZE is in MiB.
#
# The file is named FILE, and beside it stands FILE.sha256.  What is the same
# gives the same file.
set -eu

out=${1:?usage: scripts/image.sh FILE SOURCE}
source=${2:?no source}
max_size=${MAX_SIZE:-8192}

fail() {
    echo "image: $*" >&2
    exit 1
}

mkdir -p "$(dirname "$out")"
exec 9>"$out.lock"
flock 9
work=$(mktemp -d "$out.XXXXXX")
root=$work/root
container= made=
buildah=${BUILDAH:-buildah}

clean() {
    [ -z "$container" ] || $buildah rm "$container" >/dev/null
    [ -z "$made" ] || $buildah rmi "$made" >/dev/null
    # The storage itself is mounted for its own protection.
    ! mountpoint -q "$work/storage/overlay" || umount "$work/storage/overlay"
    rm -rf "$work"
}
trap clean EXIT

# All packages that the given ones need and that are installed.
closure() {
    local todo=$1 seen=" " name field
    while [ -n "$todo" ]; do
        name=${todo%% *}
        case "$todo" in *" "*) todo=${todo#* } ;; *) todo= ;; esac
        case "$seen" in *" $name "*) continue ;; esac
        [ -n "$name" ] || continue
        field=$(dpkg-query -W -f '${db:Status-Abbrev}${Pre-Depends}, ${Depends}' \
            "$name" 2>/dev/null) || continue
        case "$field" in ii*) ;; *) continue ;; esac
        seen="$seen$name "
        todo="$todo $(printf '%s' "${field#ii }" | tr ',|' '\n\n' \
            | sed 's/(.*//; s/:any//; s/ //g' | grep . | tr '\n' ' ')"
        todo=${todo# }
    done
    printf '%s\n' $seen
}

# Of the machine's own /etc only what no machine would miss.
host_root() {
    local name
    mkdir -p "$root"
    for name in bin sbin lib lib64; do
        [ ! -L "/$name" ] || cp -a "/$name" "$root/$name"
    done
    mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib"
    for name in $(closure "$1"); do
        dpkg-query -L "$name"
    done | sort -u | grep -vE \
        '^/(etc|var|boot|root|home|run|tmp|srv|opt|media|mnt)(/|$)|^/usr/share/(doc|man|info|locale|lintian|bug)/' \
        | while IFS= read -r name; do
            # As the links that stand for /bin and its like would have it.
            if [ -L "$name" ] || [ -f "$name" ]; then
                case "$name" in
                    /bin/*|/sbin/*|/lib/*|/lib64/*) [ ! -L "/$(echo "$name" \
                        | cut -d / -f 2)" ] || name=/usr$name ;;
                esac
                printf '%s\0' "${name#/}"
            fi
        done >"$work/list"
    tar -C / --null --no-recursion --ignore-failed-read -cf - -T "$work/list" \
        2>/dev/null | tar -C "$root" -xpf -

    # Links that packages make when they are set up.
    (cd / && find usr/bin usr/sbin usr/lib -maxdepth 2 -type l \
        -lname '/etc/alternatives/*') | while IFS= read -r name; do
        local to
        to=$(readlink -f "/$name") || continue
        [ ! -e "$root$to" ] || [ -e "$root/$name" ] || ln -sf "$to" "$root/$name"
    done
    [ -e "$root/usr/bin/sh" ] || ln -s bash "$root/usr/bin/sh"
}

finish() {
    local name
    for name in dev proc sys run tmp root home workspace etc var/tmp mnt; do
        mkdir -p "$root/$name"
    done
    chmod 1777 "$root/tmp" "$root/var/tmp"
    chmod 700 "$root/root"
    [ -s "$root/etc/passwd" ] || printf '%s\n' \
        'root:x:0:0:root:/root:/bin/bash' \
        'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' \
        'sandbox:x:1000:1000:sandbox:/home/sandbox:/bin/bash' \
        >"$root/etc/passwd"
    [ -s "$root/etc/group" ] || printf '%s\n' 'root:x:0:' 'tty:x:5:' \
        'nogroup:x:65534:' 'sandbox:x:1000:' >"$root/etc/group"
    [ -e "$root/etc/nsswitch.conf" ] || printf '%s\n' 'passwd: files' \
        'group: files' 'hosts: files dns' >"$root/etc/nsswitch.conf"
    if [ ! -e "$root/etc/ssl/certs/ca-certificates.crt" ] \
        && [ -e /etc/ssl/certs/ca-certificates.crt ]
    then
        mkdir -p "$root/etc/ssl/certs"
        cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    fi
    rm -f "$root/etc/machine-id"
}

# Nothing of when it was made.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000}

what=${source#*:}
case "$source" in
    dir:*)
        [ -d "$what" ] || fail "$what is no directory"
        root=$what
        ;;
    host:*)
        host_root "$(echo "$what" | tr ',' ' ')"
        finish
        ;;
    debian:*)
        mmdebstrap --variant=minbase --include="$what" --quiet \
            "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" >&2 \
            || fail "mmdebstrap failed"
        rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* \
            "$root"/var/cache/ldconfig/aux-cache "$root"/var/log/apt \
            "$root"/var/log/*.log "$root"/etc/resolv.conf \
            "$root"/etc/hostname
        finish
        ;;
    tar:*)
        mkdir "$root"
        tar -C "$root" -xpf "$what" --numeric-owner --exclude='./dev/*' \
            --exclude='dev/*' || fail "$what can't be unpacked"
        ;;
    oci:*|layout:*|archive:*|docker:*|dockerfile:*)
        case "$source" in
            layout:*|archive:*|docker:*)
                [ -e "$what" ] || fail "$what: there is no such file"
                # With a storage of its own: what is there already may be
                # the same.  What a path looks like must not matter either.
                buildah="$buildah --root $work/storage --runroot $work/run"
                ln -s "$(realpath "$what")" "$work/in"
                case "$source" in
                    layout:*)  what=oci:in ;;
                    archive:*) what=oci-archive:in ;;
                    docker:*)  what=docker-archive:in ;;
                esac
                what=$(cd "$work" && $buildah pull -q "$what" | tail -n 1) \
                    && [ -n "$what" ] \
                    || fail "buildah can't take it"
                ;;
            dockerfile:*)
                made=localhost/sandbox-image-$$
                # shellcheck disable=SC2086
                $buildah bud --isolation chroot --network host \
                    ${BUILD_ARGS:-} -f "$what" -t "$made" . >&2 \
                    || fail "buildah can't build $what"
                what=$made
                ;;
        esac
        container=$($buildah from --pull-never "$what") \
            || fail "buildah has no image $what"
        root=$($buildah mount "$container") || fail "$what can't be mounted"
        ;;
    *)
        fail "'$source' is none of those that image.sh knows"
        ;;
esac

[ -n "$(ls -A "$root")" ] || fail "$source: it is empty"

# What is missing is added on the way: a directory may be somebody's.
more=()
for name in "dev d 755" "proc d 755" "sys d 755" "run d 755" "tmp d 1777" \
    "workspace d 755"
do
    [ -e "$root/${name%% *}" ] || [ -L "$root/${name%% *}" ] \
        || more+=(-p "$name 0 0")
done
agent=${AGENT:-none}
for name in sandbox-agent usr/bin/sandbox-agent usr/local/bin/sandbox-agent; do
    [ ! -e "$root/$name" ] || agent=none
done
if [ "$agent" != none ]; then
    [ -r "$agent" ] || fail "$agent: there is no such agent"
    ln -s "$(realpath "$agent")" "$work/agent"
    more+=(-p "sandbox-agent f 755 0 0 cat $work/agent")
fi
[ -z "${ALL_ROOT:-}" ] || more+=(-all-root)

# Nothing of when or by whom it was made; one file with a bound.
time=$SOURCE_DATE_EPOCH
unset SOURCE_DATE_EPOCH
(ulimit -f $((max_size * 1024)) && exec mksquashfs "$root" "$work/image" \
    -comp lz4 -noappend -no-progress -quiet -no-xattrs -mkfs-time "$time" \
    -all-time "$time" "${more[@]}") >&2 \
    || fail "mksquashfs failed (an image may have $max_size MiB)"
sum=$(sha256sum "$work/image" | cut -d ' ' -f 1)
chmod 644 "$work/image"
printf '%s\n' "$sum" >"$out.sha256"
mv -f "$work/image" "$out"
