#!/usr/bin/env bash
# Evaluate on several GPUs, or CPU processes, of one or more machines.
set -euo pipefail

if (($# < 3)); then
    cat >&2 <<'USAGE'
usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]

GPUS is the number of processes on this machine. On several machines, run it on each with
  NNODES       number of machines (1)
  NODE_RANK    which one this is, from 0
  MASTER_ADDR  address of the first one
  PORT         port on the first one (a free one; 29500 with several machines)
PYTHON names the interpreter (python).
USAGE
    exit 2
fi
config=$1
checkpoint=$2
processes=$3
shift 3
exec bash "$(dirname "${BASH_SOURCE[0]}")/dist_run.sh" "$processes" test.py "$config" "$checkpoint" "$@"
