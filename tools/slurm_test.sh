#!/usr/bin/env bash
# Evaluate as a Slurm job.
set -euo pipefail

if (($# < 4)); then
    cat >&2 <<'USAGE'
usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]

  GPUS           GPUs in all (8)
  GPUS_PER_NODE  GPUs of a machine (8, or GPUS if fewer)
  CPUS_PER_TASK  CPU cores of a process (5)
  SRUN_ARGS      further arguments of srun, separated by spaces
PYTHON names the interpreter (python).
USAGE
    exit 2
fi
partition=$1
job=$2
shift 2
tools=$(dirname "${BASH_SOURCE[0]}")
# sbatch runs a copy of this script, from a folder of its own
if [[ ! -f $tools/slurm_run.sh ]]; then tools=${SLURM_SUBMIT_DIR:-.}/tools; fi
exec bash "$tools/slurm_run.sh" "$partition" "$job" test.py "$@"
