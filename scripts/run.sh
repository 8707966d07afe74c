#!/bin/bash
# Brings up nginx with the module, sandboxd and a demo sandbox in the
# foreground; Ctrl-C (or SIGTERM) ends and cleans up all of it.  The state
# stays in SANDBOX_DIR and is taken up by the next run.
#
#   SANDBOX_PORT  port on 127.0.0.1                        (8080)
#   SANDBOX_DIR   records, writable layers, keys, logs     (./run)
#   SANDBOX_DEMO  0: make no demo sandbox                  (1)
#   SANDBOX_BUILD directory with the built programs        (build)
#   SANDBOX_DRIVER  oci: containers, qemu or firecracker: virtual machines, made
#                 of what is in build/vm (make vm image)   (oci)
#   SANDBOX_FIRECRACKER  the program, with its jailer beside it
#                                                 (/usr/bin/firecracker)
#
# With --check it only says whether what it is told can work here at all, before
# something is built for it.
set -u

# Started in the background by a script, SIGINT would be ignored for good: a
# shell can't trap what was ignored when it began.
if [ -z "${SANDBOX_RUN_SIGNALS:-}" ]; then
    SANDBOX_RUN_SIGNALS=1 exec env --default-signal=INT "$0" "$@"
fi

top=$(cd "$(dirname "$0")/.." && pwd)
port=${SANDBOX_PORT:-8080}
demo=${SANDBOX_DEMO:-1}
build=${SANDBOX_BUILD:-build}
case "$build" in /*) ;; *) build="$top/$build" ;; esac

fail() {
    echo "run: $*" >&2
    exit 1
}

check=
[ "${1:-}" != --check ] || check=1

# What `make vm image` makes.
need_image() {
    [ -n "$check" ] || { [ -s "$top/build/vm/kernel/version" ] \
        && [ -s "$top/build/vm/base.img" ]; } \
        || fail "no kernel or image: make vm image"
}

case "$port" in
    ''|*[!0-9]*) fail "SANDBOX_PORT must be a number, not '$port'" ;;
esac
if [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then
    fail "SANDBOX_PORT must be 1 to 65535, not $port"
fi

case "${SANDBOX_DRIVER:-oci}" in
    oci)
        driver_args=(--dev)
        ;;
    qemu)
        [ "$(id -u)" -eq 0 ] || fail "virtual machines need root"
        need_image
        driver_args=(--driver qemu --kernel "$top/build/vm/kernel"
                     --image "base=$top/build/vm/base.img")
        ;;
    firecracker)
        firecracker=${SANDBOX_FIRECRACKER:-/usr/bin/firecracker}
        [ -x "$firecracker" ] && [ -x "$(dirname "$firecracker")/jailer" ] \
            || fail "no $firecracker with a jailer beside it: set SANDBOX_FIRECRACKER (see docs/microvm.md)"
        [ -e /dev/kvm ] || fail "Firecracker needs KVM, and there is no /dev/kvm"
        [ "$(id -u)" -eq 0 ] || fail "virtual machines need root"
        need_image
        driver_args=(--driver firecracker --firecracker "$firecracker"
                     --kernel "$top/build/vm/kernel"
                     --image "base=$top/build/vm/base.img")
        ;;
    *)
        fail "SANDBOX_DRIVER must be oci, qemu or firecracker, not '$SANDBOX_DRIVER'"
        ;;
esac

[ -z "$check" ] || exit 0

umask 022
mkdir -p "${SANDBOX_DIR:-./run}" || exit 1
dir=$(cd "${SANDBOX_DIR:-./run}" && pwd)

exec 9>"$dir/lock"
flock -n 9 || fail "another run uses $dir already"

if (exec 8<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    fail "port $port of 127.0.0.1 is taken: set SANDBOX_PORT to another one"
fi

# Sockets have short names and are reached by nginx's workers, which may not
# be allowed into SANDBOX_DIR: they live in a directory of their own.
tag=$(printf %s "$dir" | sha256sum | cut -c 1-8)
user_line=
if [ "$(id -u)" -eq 0 ]; then
    run_dir=/run/sandboxd-$tag
    group=$(id -gn www-data 2>/dev/null) || fail "there is no user www-data"
    user_line="user www-data;"
    group_args=(--socket-group "$group")
else
    run_dir=${XDG_RUNTIME_DIR:-/tmp}/sandboxd-$(id -u)-$tag
    group_args=()
fi

# The key is the user's; nginx knows only its digest.
if [ ! -s "$dir/api-key" ]; then
    (umask 077
     key=sbx_$(head -c 25 /dev/urandom | base32 | tr A-Z a-z)
     printf '%s\n' "$key" >"$dir/api-key") || exit 1
fi
chmod 600 "$dir/api-key"
key=$(cat "$dir/api-key")
(umask 077
 printf '%s local\n' "$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)" \
     >"$dir/keys") || exit 1

# nginx's own directories; its workers write bodies there that are larger than
# a buffer.
mkdir -p "$dir/nginx/tmp" "$dir/log" || exit 1
temp="$dir/nginx/tmp"
if [ -n "$user_line" ]; then
    temp=$run_dir.tmp
    mkdir -p "$temp" && chown www-data "$temp" && chmod 700 "$temp"
fi

cat >"$dir/nginx/nginx.conf" <<END
load_module $build/ngx_http_sandbox_module.so;
$user_line
worker_processes auto;
daemon off;
pid $dir/nginx/nginx.pid;
error_log $dir/log/nginx-error.log info;

events {
    worker_connections 4096;
}

http {
    access_log $dir/log/nginx-access.log;
    client_body_temp_path $temp/body;
    proxy_temp_path $temp/proxy;
    fastcgi_temp_path $temp/fastcgi;
    uwsgi_temp_path $temp/uwsgi;
    scgi_temp_path $temp/scgi;

    sandbox_zone name=sandboxes 64m;
    sandbox_daemon unix:$run_dir/control.sock secret=$dir/secret;

    upstream sandboxes {
        sandbox;
        sandbox_keepalive 256;
    }

    # Any other name gets no answer.
    server {
        listen 127.0.0.1:$port default_server;
        return 444;
    }

    server {
        listen 127.0.0.1:$port;
        server_name *.localhost;
        sandbox_preview localhost;

        location / {
            include $top/conf-examples/sandbox_proxy.conf;
            proxy_pass http://sandboxes;
        }
    }

    server {
        listen 127.0.0.1:$port;
        server_name localhost 127.0.0.1;
        sandbox_api on;
        sandbox_api_keys $dir/keys;

        location / {
            include $top/conf-examples/sandbox_proxy.conf;
            proxy_pass http://sandboxes;
        }
    }
}
END

daemon= nginx= stopping=

stop() {
    [ -z "$stopping" ] || return 0
    stopping=1
    trap '' INT TERM HUP
    [ -n "$1" ] && echo "run: stopping"
    if [ -n "$nginx" ]; then
        kill -QUIT "$nginx" 2>/dev/null
        # Open streams have five seconds to end by themselves.
        for _ in $(seq 50); do
            kill -0 "$nginx" 2>/dev/null || break
            sleep 0.1
        done
        kill -TERM "$nginx" 2>/dev/null
        wait "$nginx" 2>/dev/null
    fi
    if [ -n "$daemon" ]; then
        kill -TERM "$daemon" 2>/dev/null
        wait "$daemon" 2>/dev/null
    fi
    rm -rf "$run_dir" "$run_dir.tmp"
}

trap 'stop said; exit 0' INT TERM HUP
trap 'stop ""' EXIT

# In a session of their own, or Ctrl-C would reach them before we can end them
# in order.
setsid "$build/sandboxd" --state-dir "$dir/state" --run-dir "$run_dir" \
    --secret-file "$dir/secret" --agent "$build/sandbox-agent" \
    "${driver_args[@]}" --stop-on-exit "${group_args[@]}" >>"$dir/log/sandboxd.log" 2>&1 9>&- &
daemon=$!

for _ in $(seq 200); do
    [ -S "$run_dir/control.sock" ] && break
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.05
done
if ! kill -0 "$daemon" 2>/dev/null || [ ! -S "$run_dir/control.sock" ]; then
    tail -n 5 "$dir/log/sandboxd.log" >&2
    fail "sandboxd did not start; its log is $dir/log/sandboxd.log"
fi

nginx_bin=$(PATH=$PATH:/usr/sbin:/sbin command -v nginx) \
    || fail "nginx is not installed"
setsid "$nginx_bin" -p "$dir/nginx/" -e "$dir/log/nginx-error.log" \
    -c "$dir/nginx/nginx.conf" >>"$dir/log/nginx-error.log" 2>&1 9>&- &
nginx=$!

base=http://127.0.0.1:$port
for _ in $(seq 200); do
    curl -sf -o /dev/null -m 2 "$base/health" && break
    kill -0 "$nginx" 2>/dev/null || break
    sleep 0.05
done
if ! curl -sf -o /dev/null -m 2 "$base/health"; then
    tail -n 5 "$dir/log/nginx-error.log" >&2
    fail "nginx did not come up; its log is $dir/log/nginx-error.log"
fi

# api METHOD PATH [BODY]: one call to the control API.
api() {
    curl -sS -m 60 -X "$1" -H "Authorization: Bearer $key" \
        ${3+-H 'Content-Type: application/json' -d "$3"} "$base$2"
}

url=
if [ "$demo" != 0 ]; then
    api POST /v1/sandbox '{"id":"demo"}' >/dev/null \
        || fail "the demo sandbox could not be made"
    api PUT /v1/sandbox/demo/file/workspace/site/index.html \
        "$(cat "$top/scripts/demo.html")" >/dev/null
    api POST /v1/sandbox/demo/api/process/start \
        '{"processId":"web","cwd":"/workspace/site","command":
          "python3 -m http.server 8000 --bind 127.0.0.1"}' >/dev/null
    answer=$(api POST /v1/sandbox/demo/ports '{"port":8000,"name":"demo"}')
    url=$(printf %s "$answer" | sed -n 's/.*"url": *"\([^"]*\)".*/\1/p')
    [ -n "$url" ] || fail "the demo's port was not exposed: $answer"
    host=${url#http://} host=${host%%/*}
    for _ in $(seq 100); do
        curl -sf -o /dev/null -m 5 -H "Host: $host" "$base/" && break
        sleep 0.1
    done
    curl -sf -o /dev/null -m 5 -H "Host: $host" "$base/" \
        || fail "the demo's preview does not answer; logs are in $dir/log"
fi

shown=$dir/api-key
auth="-H \"Authorization: Bearer \$(cat $shown)\""
cat <<END

  API       $base/v1
  API key   $shown

  Try:
    curl $auth $base/v1/sandbox
    curl -N $auth $base/v1/sandbox/my-first/exec -d '{"argv":["python3","-c","print(6*7)"]}'
    curl $auth $base/v1/sandbox/my-first/api/execute -d '{"command":"uname -a; id; ls /"}'
${url:+
  Preview   $url
}
  Ctrl-C stops everything; the state stays in $dir
END

while kill -0 "$daemon" 2>/dev/null && kill -0 "$nginx" 2>/dev/null; do
    sleep 1 &
    wait $! 2>/dev/null
done
fail "a part ended by itself; logs are in $dir/log"
