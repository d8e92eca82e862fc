#!/usr/bin/env bash
# What slurm_train.sh and slurm_test.sh share: one program as a Slurm job step.
#   slurm_run.sh PARTITION JOB_NAME PROGRAM [ARGUMENTS]
set -euo pipefail

partition=$1
job=$2
program=$3
shift 3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
read -r -a extra <<<"${SRUN_ARGS:-}"

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
resume=()
if [[ $program == train.py ]]; then
    # Slurm's warning before the end of the job's time; the program then saves and exits with 75.
    extra=("--signal=${SIGNAL:-USR1@120}" ${extra[@]+"${extra[@]}"})
    if ((${SLURM_RESTART_COUNT:-0} > 0)); then resume=(--resume); fi
fi

while true; do
    status=0
    srun --partition="$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
        --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
        ${extra[@]+"${extra[@]}"} \
        "${PYTHON:-python}" -u "$root/tools/$program" "$@" ${resume[@]+"${resume[@]}"} \
        --launcher slurm || status=$?
    if ((status != 75)); then exit "$status"; fi
    if [[ -n ${SLURM_JOB_ID:-} ]]; then
        # a batch job: it is queued again as a whole, and starts this script again
        scontrol requeue "$SLURM_JOB_ID"
        exit "$status"
    fi
    resume=(--resume)
done
