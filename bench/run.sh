#!/bin/sh
# All benchmarks; each figure is printed beside its floor of the same run.
set -eu
cd "$(dirname "$0")/.."
perl -It/lib bench/agent.pl
echo
perl -It/lib bench/starts.pl
echo
perl -It/lib bench/edge.pl "$@"
echo
bench/lookup.sh
