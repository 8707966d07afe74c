#!/bin/sh
# Builds lookup.c with the headers of nginx that the module was built with, and
# runs it for zones of growing size.  With LOOKUP_CHANGES it checks the zone
# through so many changes before.
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
    $(for f in zone fill node entry table usage tenant failures ticket; do
          echo "$m/ngx_http_sandbox_$f.c"
      done) "$m/sandbox_label.c" -ljansson -lcrypto \
    2>"$dir/log" || { cat "$dir/log" >&2; exit 1; }

if [ -n "${LOOKUP_CHANGES:-}" ]; then
    "$dir/lookup" 3000 256 "$LOOKUP_CHANGES"
fi

echo "# the zone's lookup of a label, with its lock; names at random"
for n in ${LOOKUP_SANDBOXES:-1 1000 10000 100000}; do
    "$dir/lookup" "$n" 64
done
