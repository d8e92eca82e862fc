#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: one program on several processes, through torchrun.
# Its exit status is the program's: 75 where a training was told to stop and saved.
#   dist_run.sh PROCESSES PROGRAM [ARGUMENTS]
set -euo pipefail

processes=$1
program=$2
shift 2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
nodes=${NNODES:-1}

if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
    echo "error: the number of GPUS must be a positive number, not '$processes'" >&2
    exit 2
fi
meeting=(--standalone)
if ((nodes > 1)); then
    # All machines must name the same port, so that a free one cannot be searched for.
    meeting=(--node_rank "${NODE_RANK:?set NODE_RANK, 0 on the first machine}"
        --master_addr "${MASTER_ADDR:?set MASTER_ADDR to the first machine}"
        --master_port "${PORT:-29500}")
elif [[ -n ${PORT:-} ]]; then
    meeting=(--master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "$PORT")
fi

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" "$root/tools/dist_run.py" --nnodes "$nodes" --nproc_per_node "$processes" \
    "${meeting[@]}" "$root/tools/$program" "$@" --launcher pytorch
