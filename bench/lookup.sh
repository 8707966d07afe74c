#!/bin/sh
# Builds lookup.c with the headers of nginx that the module was built with, and
# runs it for zones of growing size.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
build=$top/${SANDBOX_BUILD:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
m=$top/ngx_sandbox_module

cd "${NGINX_SRC:-/usr/share/nginx/src}"
# What of nginx a lookup never calls is left out.
gcc -O2 -std=gnu11 -Wall -static -Wl,--unresolved-symbols=ignore-all \
    -o "$dir/lookup" -I src/core -I src/event -I src/event/modules \
    -I src/os/unix -I src/http -I src/http/modules -I src/http/v2 \
    -I src/http/v3 -I src/event/quic -I "$build/nginx" -I "$top" -I "$m" \
    "$top/bench/lookup.c" \
    $(ls "$m"/*.c | grep -v /ngx_http_sandbox_module.c) -ljansson -lcrypto \
    2>"$dir/log" || { cat "$dir/log" >&2; exit 1; }

echo "# the zone's lookup of a label, with its lock; names at random"
for n in ${LOOKUP_SANDBOXES:-1 1000 10000 100000}; do
    "$dir/lookup" "$n" 64
done
