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

# Files that failed and are tried once more.
AGAIN_MAX=4

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
# Those that take longest begin; for what does little but wait, some minutes,
# there are places beside the others'.
waiting=$(ls t/silent.t t/qemu-silent.t 2>/dev/null)
slow='t/qemu.t t/sleep.t t/fuzz.t t/module-park.t t/contract.t t/network.t'
shared="$slow $(grep -L 'not with the sanitizers' t/*.t \
    | grep -vxF "${slow// /$'\n'}"$'\n'"$waiting")"
jobs=${TEST_JOBS:-3}

run alone build 2 $alone
if [ -n "$waiting" ]; then
    run waiting-instrumented build/san 2 $waiting &
    run waiting build 2 $waiting &
fi
run instrumented build/san "$jobs" $(tr ' ' '\n' <<<"$shared" \
    | grep -vE '/(unit|fuzz)\.t$') &
run plain build "$jobs" $shared
wait
if [ -n "$long" ]; then
    SANDBOX_LONG=1 run long-instrumented build/san 1 t/qemu.t
    run long build 2 t/long/*.t
fi

# Files of a round that failed: "FILE FAILED-TESTS"; one that died may have
# none of these.
failures() {
    sed -n '/^Test Summary Report/,/^Files=/p' "$results/$1" \
        | sed -nE 's/^(t\/[^ ]+\.t) .*\(Wstat: .* Failed: ([0-9]+)\)$/\1 \2/p'
}

# A file that failed beside others has one more try, with the machine for
# itself: what only a busy machine makes fail is printed, but is no failure.
# Many at once are no accident.
again() {
    local file n name=$1 build=$2
    while read -r file n; do
        echo "# once more, alone: $file ($name)"
        if SANDBOX_BUILD=$build prove -It/lib --timer "$file" \
            >"$results/more" 2>&1 </dev/null
        then
            echo "$file" >>"$results/passed-$name"
        fi
        sed "s/^/# /" "$results/more"
        rm -f "$results/more"
    done < <(failures "$name")
}

rounds=$(ls "$results")
count=$(for name in $rounds; do failures "$name"; done | wc -l)
if [ "$count" -gt 0 ] && [ "$count" -le "$AGAIN_MAX" ]; then
    for name in $rounds; do
        case $name in
            *instrumented) again "$name" build/san ;;
            *)             again "$name" build ;;
        esac
    done
fi

for name in $rounds; do
    total=$(sed -n 's/^Files=[0-9]*, Tests=\([0-9]*\),.*/\1/p' "$results/$name")
    files=0
    while read -r file n; do
        files=$((files + 1))
        passed=$((passed - n))
        if grep -qxF "$file" "$results/passed-$name" 2>/dev/null; then
            echo "# failed, but passed when it was alone: $file ($name)"
        else
            failed=$((failed + (n > 0 ? n : 1)))
        fi
    done < <(failures "$name")
    # A round that came to no end has no list.
    if ! grep -q '^Result: PASS' "$results/$name" && [ "$files" -eq 0 ]; then
        failed=$((failed + 1))
    fi
    passed=$((passed + ${total:-0}))
done

# What failed, once more at the end, where it is looked for.
for name in $rounds; do
    f=$results/$name
    sed -n "/^Test Summary Report/,/^Files=/p" "$f"
    grep -hE "^ *#   Failed|^ *#  +(got|expected):" "$f" | head -n 40
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
