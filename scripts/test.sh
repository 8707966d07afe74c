#!/bin/bash
# Runs the tests in parallel, then those that matter with the sanitizers, and
# closes with one line "N passed, N failed".  --long adds what takes longer.
set -u

cd "$(dirname "$0")/.." || exit 1

long=
[ "${1:-}" = --long ] && long=1

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

passed=0 failed=0

# run NAME BUILD JOBS FILES...
run() {
    local name=$1 build=$2 jobs=$3
    shift 3
    SANDBOX_BUILD=$build prove -It/lib --timer -j"$jobs" "$@" \
        >"$results/$name" 2>&1
    # All at once: rounds beside each other are not mixed.
    sed "1i # $name" "$results/$name"
}

# What measures time or memory has the machine for itself.  The rest is run
# twice, as it is shipped and instrumented, at the same time: most of these
# tests wait most of the time.
alone=$(grep -l 'not with the sanitizers' t/*.t)
# Those that take longest begin.
slow='t/qemu.t t/sleep.t t/fuzz.t t/module-park.t t/contract.t t/network.t'
shared="$slow $(grep -L 'not with the sanitizers' t/*.t \
    | grep -vxF "${slow// /$'\n'}")"
jobs=${TEST_JOBS:-3}

run alone build 2 $alone
run instrumented build/san "$jobs" $(tr ' ' '\n' <<<"$shared" \
    | grep -vE '/(unit|fuzz)\.t$') &
run plain build "$jobs" $shared
wait
if [ -n "$long" ]; then
    SANDBOX_LONG=1 run long-instrumented build/san 1 t/qemu.t
    run long build 2 t/long/*.t
fi

for f in "$results"/*; do
    total=$(sed -n 's/^Files=[0-9]*, Tests=\([0-9]*\),.*/\1/p' "$f")
    bad=$(sed -n 's/.* Failed: \([0-9]*\))$/\1/p' "$f" \
        | awk '{ n += $1 } END { print n + 0 }')
    # A file that died counts, whatever it had passed.
    dubious=$(grep -cE 'Non-zero exit|Bad plan|No plan found|Parse errors' "$f")
    passed=$((passed + ${total:-0} - bad))
    failed=$((failed + bad))
    if grep -q '^Result: FAIL' "$f" && [ "$bad" -eq 0 ]; then
        failed=$((failed + (dubious > 0 ? dubious : 1)))
    fi
    grep -q '^Result:' "$f" || failed=$((failed + 1))
done

# What failed, once more at the end, where it is looked for.
for f in "$results"/*; do
    sed -n "/^Test Summary Report/,/^Files=/p" "$f"
    grep -hE "^ *#   Failed|^ *#  +(got|expected):" "$f" | head -n 40
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
