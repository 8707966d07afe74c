#!/bin/bash
# Makes an image for virtual machines: a file with a read-only file system.
#
#   scripts/image.sh FILE dir:DIR             what is in a directory
#   scripts/image.sh FILE host:PACKAGE,...    this machine's own files of these
#                                             packages and what they need
#   scripts/image.sh FILE debian:PACKAGE,...  a small Debian with them, fetched
#                                             by mmdebstrap
#   scripts/image.sh FILE oci:IMAGE           an OCI image that buildah has
#   scripts/image.sh FILE dockerfile:PATH     what buildah makes of it, with the
#                                             current directory as its context
#
# BUILDAH says how buildah is called ("buildah"), BUILD_ARGS what "buildah bud"
# is given.
#
# The file is named FILE, and beside it stands FILE.sha256.  What is the same
# gives the same file.
set -eu

out=${1:?usage: scripts/image.sh FILE dir:|host:|debian:|oci:|dockerfile:...}
source=${2:?no source}

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
    (cd / && find usr/bin usr/sbin -maxdepth 1 -type l \
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
        rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
        finish
        ;;
    oci:*|dockerfile:*)
        if [ "${source%%:*}" = dockerfile ]; then
            made=localhost/sandbox-image-$$
            # shellcheck disable=SC2086
            $buildah bud --isolation chroot --network host ${BUILD_ARGS:-} \
                -f "$what" -t "$made" . >&2 || fail "buildah can't build $what"
            what=$made
        fi
        container=$($buildah from --pull-never "$what") \
            || fail "buildah has no image $what"
        root=$($buildah mount "$container") || fail "$what can't be mounted"
        mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/run" \
            "$root/workspace"
        ;;
    *)
        fail "'$source' is not dir:, host:, debian:, oci: or dockerfile:"
        ;;
esac

# Nothing of when or by whom it was made.
time=${SOURCE_DATE_EPOCH:-1700000000}
unset SOURCE_DATE_EPOCH
mksquashfs "$root" "$work/image" -comp lz4 -noappend -no-progress -quiet \
    -no-xattrs -mkfs-time "$time" -all-time "$time" >&2 \
    || fail "mksquashfs failed"
sum=$(sha256sum "$work/image" | cut -d ' ' -f 1)
chmod 644 "$work/image"
printf '%s\n' "$sum" >"$out.sha256"
mv -f "$work/image" "$out"
