#!/bin/bash
# Keeps images for sandboxes: "sandboxd image" is this.
#
#   sandboxd image [OPTION]... build NAME SOURCE
#   sandboxd image [OPTION]... import NAME PATH
#   sandboxd image [OPTION]... list
#   sandboxd image [OPTION]... remove NAME
#
# STORE/NAME is a link to sha256/<digest>, a file with a read-only file system:
# it is what sandboxd --image NAME=STORE/NAME takes.  sha256/<digest>.json
# tells where it is from.
#
# Who uses such a file holds a shared lock on it, so whoever gets an exclusive
# one may remove it.  STORE/lock is held while the store is changed, a lock in
# .work/NAME while an image is made.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)

usage() {
    cat <<END
usage: sandboxd image [OPTION]... build NAME SOURCE
       sandboxd image [OPTION]... import NAME PATH
       sandboxd image [OPTION]... list
       sandboxd image [OPTION]... remove NAME

  SOURCE  dir:DIR             what is in a directory
          debian:PACKAGE,...  a small Debian with them, by mmdebstrap
          host:PACKAGE,...    this machine's own files of these packages
          oci:IMAGE           an OCI image that buildah has
          dockerfile:PATH     what buildah makes of it; its directory is the
                              context
  PATH    an OCI archive or layout, docker's archive, a tar file of a root
          file system, a directory, or a squashfs, erofs or ext4 image

  --store DIR       where images are (default: $store)
  --agent PATH      put into images that have none, as /sandbox-agent; "none"
  --all-root        all files are root's
  --max-size MIB    of an image (default: $max_size), 1 to 1048576
  --timeout S       of making one (default: $timeout), 1 to 86400
  --json            list: one JSON array
END
}

fail() {
    echo "sandboxd image: $*" >&2
    exit 1
}

wrong() {
    echo "sandboxd image: $*" >&2
    echo "sandboxd image --help tells more" >&2
    exit 2
}

number() {
    [[ "$2" =~ ^[0-9]{1,8}$ ]] && [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] \
        || wrong "$1 must be $3 to $4, not '$2'"
}

store=${SANDBOX_IMAGES:-/var/lib/sandbox-images}
agent= all_root= json= max_size=8192 timeout=3600

words=()
while [ $# -gt 0 ]; do
    case "$1" in
        --help)     usage; exit 0 ;;
        --all-root) all_root=1; shift ;;
        --json)     json=1; shift ;;
        --store|--agent|--max-size|--timeout)
            [ $# -gt 1 ] || wrong "$1 needs a value"
            case "$1" in
                --store)    store=$2 ;;
                --agent)    agent=$2 ;;
                --max-size) number "$1" "$2" 1 1048576; max_size=$2 ;;
                --timeout)  number "$1" "$2" 1 86400; timeout=$2 ;;
            esac
            shift 2
            ;;
        --) shift; words+=("$@"); break ;;
        -*) wrong "there is no option $1" ;;
        *)  words+=("$1"); shift ;;
    esac
done

set -- "${words[@]}"
command=${1:-}
[ -n "$command" ] || wrong "build, import, list or remove?"
shift

check_name() {
    [[ "$1" =~ ^[a-z0-9][a-z0-9._-]{0,62}$ ]] || wrong "the name '$1' must be" \
        "1 to 63 of a-z, 0-9, '.', '_', '-', and begin with one of the first"
    case "$1" in
        host)        wrong "the name host is that of the image made by --dev" ;;
        lock|sha256|*.lock)
            wrong "the name $1 is the store's own" ;;
    esac
}

open_store() {
    local mode
    mkdir -p "$store/sha256" "$store/.work" 2>/dev/null \
        || fail "$store can't be made or written to"
    store=$(cd "$store" && pwd)
    # Who may write there decides what runs in sandboxes.
    mode=$(stat -c %a "$store")
    [ $((0$mode & 022)) -eq 0 ] \
        || fail "$store may be written to by others (mode $mode)"
    chmod 700 "$store/.work"
    exec 8>>"$store/lock"
}

lock_store() {
    flock -w 60 8 || fail "$store is locked for a minute already"
}

# What a killed command left, and files that have no name any more.
sweep() {
    local entry digest used name
    for entry in "$store"/.work/*.lock; do
        [ -e "${entry%.lock}" ] || continue
        (
            flock -n 7 || exit 0
            # What buildah had mounted comes back below itself.
            awk -v dir="${entry%.lock}/" 'index($2, dir) == 1 { print $2 }' \
                /proc/self/mounts | sort -r | while IFS= read -r name; do
                    umount -l "$name"
                done
            rm -rf "${entry%.lock}"
        ) 7>>"$entry"
    done
    used=$(links)
    for entry in "$store"/sha256/*.json; do
        [ -e "$entry" ] || continue
        digest=${entry##*/}
        digest=${digest%.json}
        case "$used" in *"$digest"*) continue ;; esac
        drop "$digest" || true
    done
}

# All names with their digests.
links() {
    local entry to
    for entry in "$store"/*; do
        [ -L "$entry" ] || continue
        to=$(readlink "$entry")
        [[ "$to" =~ ^sha256/[0-9a-f]{64}$ ]] || continue
        printf '%s %s\n' "${entry##*/}" "${to#sha256/}"
    done
}

in_use() {
    [ -e "$store/sha256/$1" ] && ! flock -n "$store/sha256/$1" true
}

# The lock is kept over the removal, so nobody begins to use it in between.
drop() {
    local file=$store/sha256/$1
    [ -e "$file" ] || { rm -f "$file.json"; return 0; }
    (
        flock -n 7 || exit 1
        rm -f "$file" "$file.json"
    ) 7<"$file"
}

# A string for JSON; control characters are dropped.
quote() {
    printf '"%s"' "$(printf %s "$1" | tr -d '\000-\037\177' \
        | sed 's/[\\"]/\\&/g')"
}

# Debian's images of old and new: what the first bytes say.
format_of() {
    case "$(od -An -tx1 -N4 "$1" | tr -d ' \n')" in
        68737173) echo squashfs; return ;;
    esac
    case "$(od -An -tx1 -j1024 -N4 "$1" | tr -d ' \n')" in
        e2e1f5e0) echo erofs; return ;;
    esac
    case "$(od -An -tx1 -j1080 -N2 "$1" | tr -d ' \n')" in
        53ef) echo ext4; return ;;
    esac
}

# What image.sh calls it, or "file:" for one that has a file system in it.
source_of() {
    local names
    case "$1" in /*) ;; *) set -- "$PWD/$1" ;; esac
    if [ -d "$1" ]; then
        if [ -e "$1/oci-layout" ]; then echo "layout:$1"; else echo "dir:$1"; fi
        return
    fi
    [ -f "$1" ] || fail "$1: there is no such file or directory"
    [ -r "$1" ] || fail "$1 can't be read"
    if [ -n "$(format_of "$1")" ]; then
        echo "file:$1"
        return
    fi
    names=$(tar -tf "$1" 2>/dev/null | head -n 100000) \
        || [ -n "$names" ] || fail "$1 is neither an archive nor an image"
    if grep -qxE '(\./)?oci-layout' <<<"$names"; then
        echo "archive:$1"
    elif grep -qxE '(\./)?manifest\.json' <<<"$names"; then
        echo "docker:$1"
    elif [ -n "$names" ]; then
        echo "tar:$1"
    else
        fail "$1 is neither an archive nor an image"
    fi
}

find_agent() {
    local path
    [ -z "$agent" ] || return 0
    for path in "$here/../build/sandbox-agent" \
        "$here/../../lib/sandboxd/sandbox-agent"
    do
        [ ! -x "$path" ] || { agent=$path; return 0; }
    done
    agent=none
}

# Runs it for a limited time, in a group of its own, which ends with us.
child=
limited() {
    local rc=0
    timeout -k 10 "$timeout" "$@" </dev/null >&2 8>&- 9>&- &
    child=$!
    wait "$child" || rc=$?
    child=
    [ "$rc" -ne 124 ] || fail "$name: making it took more than $timeout s"
    [ "$rc" -eq 0 ] || fail "$name: it can't be made"
}

make_image() {
    local source=$1
    case "$source" in
        file:*)
            limited cp --sparse=always "${source#file:}" "$work/image"
            ;;
        dockerfile:*)
            source=$(realpath -e "${source#*:}" 2>/dev/null) \
                || fail "${1#*:}: there is no such file"
            cd "$(dirname "$source")"
            source=dockerfile:$source
            ;;
    esac
    if [ "${source%%:*}" != file ]; then
        find_agent
        AGENT=$agent ALL_ROOT=$all_root MAX_SIZE=$max_size TMPDIR=$work \
            limited "$here/image.sh" "$work/image" "$source"
    fi
    [ "$(stat -c %s "$work/image")" -le $((max_size * 1048576)) ] \
        || fail "$name: it is larger than $max_size MiB (--max-size)"
}

# build NAME SOURCE: the name is the new image's in one step, or still the old
# one's.
build() {
    local name=$1 digest format
    open_store
    exec 9>>"$store/.work/$name.lock"
    flock -n 9 || fail "$name is being made by another command"
    work=$store/.work/$name
    rm -rf "$work"
    mkdir "$work"
    trap 'rm -rf "$work"' EXIT
    trap '[ -z "$child" ] || { kill "$child"; wait "$child"; }; exit 1' \
        INT TERM HUP

    make_image "$2"
    format=$(format_of "$work/image")
    [ -n "$format" ] || fail "$name: no squashfs, erofs or ext4 image"
    digest=$(sha256sum "$work/image" | cut -d ' ' -f 1)
    printf '{"version":1,"digest":"sha256:%s","size":%s,"format":"%s",%s}\n' \
        "$digest" "$(stat -c %s "$work/image")" "$format" \
        "\"source\":$(quote "$2"),\"created\":\"$(date -u +%FT%TZ)\"" \
        >"$work/json"
    chmod 444 "$work/image" "$work/json"
    sync "$work/image" "$work/json"

    lock_store
    # One that is used isn't replaced by its equal: its lock is the old's.
    mv -f "$work/json" "$store/sha256/$digest.json"
    [ -e "$store/sha256/$digest" ] \
        || mv "$work/image" "$store/sha256/$digest"
    ln -s "sha256/$digest" "$work/link"
    mv -T "$work/link" "$store/$name"
    sync "$store" "$store/sha256"
    sweep
    echo "sha256:$digest"
}

remove() {
    local digest
    open_store
    lock_store
    [ -L "$store/$1" ] || fail "there is no image $1 in $store"
    digest=$(readlink "$store/$1")
    digest=${digest#sha256/}
    ! in_use "$digest" || fail "$1 is used by sandboxd or by a sandbox"
    rm "$store/$1"
    sync "$store"
    sweep
}

list() {
    local name digest used first=1 text
    [ -d "$store/sha256" ] || { [ -z "$json" ] || echo '[]'; return 0; }
    [ -n "$json" ] || printf '%-20s %-12s %10s %-8s %-6s %s\n' NAME DIGEST \
        MIB FORMAT IN-USE SOURCE
    [ -z "$json" ] || printf '['
    while read -r name digest; do
        text=$(cat "$store/sha256/$digest.json" 2>/dev/null) || continue
        used=false
        ! in_use "$digest" || used=true
        if [ -n "$json" ]; then
            [ -n "$first" ] || printf ',\n '
            printf '{"name":%s,"in_use":%s,%s' "$(quote "$name")" "$used" \
                "${text#\{}"
        else
            format=${text#*\"format\":\"}
            source=${text#*\"source\":\"}
            printf '%-20s %-12s %10s %-8s %-6s %s\n' "$name" "${digest:0:12}" \
                $((($(stat -c %s "$store/sha256/$digest") + 1048575) / 1048576)) \
                "${format%%\"*}" "$used" "${source%%\",\"created\"*}"
        fi
        first=
    done < <(links)
    [ -z "$json" ] || echo ']'
}

arguments() {
    [ "$1" -eq "$2" ] || wrong "$command takes $3"
}

case "$command" in
    build)
        arguments $# 2 "a name and a source"
        check_name "$1"
        case "$2" in
            dir:?*|debian:?*|host:?*|oci:?*|dockerfile:?*) ;;
            *) wrong "the source '$2' is not dir:, debian:, host:, oci: or" \
                "dockerfile: with what follows" ;;
        esac
        build "$1" "$2"
        ;;
    import)
        arguments $# 2 "a name and a path"
        check_name "$1"
        source=$(source_of "$2") || exit 1
        build "$1" "$source"
        ;;
    list)
        arguments $# 0 "nothing more"
        list
        ;;
    remove)
        arguments $# 1 "a name"
        check_name "$1"
        remove "$1"
        ;;
    *)
        wrong "there is no command $command"
        ;;
esac
