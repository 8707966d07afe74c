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

# run NAME BUILD FILES...
run() {
    local name=$1 build=$2 line
    shift 2
    echo "# $name"
    SANDBOX_BUILD=$build prove -It/lib --timer -j"${TEST_JOBS:-3}" "$@" \
        2>&1 | tee "$results/$name"
    line=$(grep -E '^(Files=|All tests)' "$results/$name" | tail -n 1)
    [ -n "$line" ] || failed=$((failed + 1))
}

run plain build t/*.t
# The instrumented run leaves out what measures time or memory.
run sanitizers build/san $(grep -L 'not with the sanitizers' t/*.t \
    | grep -vE '/(unit|fuzz)\.t$')
[ -z "$long" ] || run long build t/long/*.t

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
