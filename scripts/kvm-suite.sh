#!/bin/bash
# Runs all tests on a host with KVM and Firecracker: those of `make test`, then
# those of the whole system on Firecracker's machines.
#
#   SANDBOX_FIRECRACKER  the program, with its jailer beside it
#                                                 (/usr/bin/firecracker)
#
# A host that can't do it is told why, with status 2.
set -u

cd "$(dirname "$0")/.." || exit 2
export SANDBOX_FIRECRACKER=${SANDBOX_FIRECRACKER:-/usr/bin/firecracker}
jailer=$(dirname "$SANDBOX_FIRECRACKER")/jailer

fail() {
    echo "kvm-suite: $*" >&2
    exit 2
}

[ "$(id -u)" -eq 0 ] || fail "needs root"
[ -x "$SANDBOX_FIRECRACKER" ] && [ -x "$jailer" ] \
    || fail "no $SANDBOX_FIRECRACKER with a jailer beside it"
[ -e /dev/kvm ] || fail "there is no /dev/kvm"

make --no-print-directory deps-test || fail "what the tests need is missing"
make --no-print-directory -j"$(nproc)" agent sandboxd module \
    || fail "it can't be built"
build/sandboxd doctor --driver firecracker \
    --firecracker "$SANDBOX_FIRECRACKER" --jailer "$jailer" \
    || fail "Firecracker can't be used on this host"

status=0
make --no-print-directory test || status=1
SANDBOX_BUILD=build prove -It/lib -v t/long/firecracker-suite.t || status=1
exit $status
