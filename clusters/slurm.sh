#!/bin/bash
# A study on Slurm: Ray on all nodes of the job, the sweep on the first. Out of time, it pauses and queues itself again.
#
# Needs:  a folder that all nodes share, and in it an environment with lpstudy: python -m venv, then
#         pip install -c constraints.txt . ; sinfo's names for a partition and its GPUs in the lines below.
# Start:  . /shared/venv/bin/activate && export LPSTUDY_STORAGE=/shared/lpstudy
# Submit: sbatch clusters/slurm.sh cifar10 --gpus-per-trial 0.25
# Stop:   scancel --batch --signal=TERM JOB    # the study pauses, the job queues itself again
#         scancel JOB    # out of the queue, or killed at once; submitted again, the study goes on

#SBATCH --job-name=lpstudy
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=08:00:00
# SIGTERM for this script alone, 120 s (Slurm: or up to 60 s more) before the end; the sweep pauses within 30 s.
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=lpstudy-%j.log

set -euo pipefail

readonly PAUSED=75 # the sweep's exit code: start it again to go on
readonly JOINED_SECONDS=300

if [ $# -lt 1 ]; then
  echo "usage: sbatch clusters/slurm.sh STUDY [flags of python -m lpstudy.sweep]" >&2
  exit 2
fi
case ${LPSTUDY_STORAGE:-} in
  /*) ;;
  *) echo "clusters/slurm.sh: LPSTUDY_STORAGE must be the absolute path of a folder that all nodes share" >&2; exit 2 ;;
esac

told=0 heard=0 child='' steps=()
trap 'told=1 heard=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' TERM

# Runs a command that hears what this script is told; its exit code is left in $code.
run() {
  "$@" &
  child=$!
  [ "$told" = 0 ] || kill -TERM "$child" 2>/dev/null || true
  code=0
  wait "$child" || code=$?
  while [ "$heard" = 1 ]; do # the signal ended `wait`, not the command
    heard=0 again=0
    wait "$child" || again=$?
    [ "$again" = 127 ] || code=$again # 127: it had ended before
  done
  child=''
}

on_node() { # NODE COMMAND...: one step of the job, in the background
  srun --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --nodelist="$1" "${@:2}" &
  steps+=($!)
}

leave() { # CODE: Ray is told to end, and Slurm sees to it; a paused study is queued again
  local code=$1
  [ ${#steps[@]} = 0 ] || kill -TERM "${steps[@]}" 2>/dev/null || true
  rm -f "$RAY_AUTH_TOKEN_PATH"
  case $told:$code in
    1:143 | 1:15) code=$PAUSED ;; # told before it could answer, by the kernel or by Ray's handler: it lost nothing
  esac
  case $told:$code in
    1:"$PAUSED") scontrol requeue "$SLURM_JOB_ID" || lost ;;
    # By `lpstudy pause`, a full disk: at once it would do so again, so the job waits for `scontrol release`.
    0:"$PAUSED") scontrol requeuehold "$SLURM_JOB_ID" || lost ;;
  esac
  exit "$code"
}

lost() {
  echo "clusters/slurm.sh: the job could not be queued again; submit it once more to go on" >&2
}

# A token for this job: whoever else is on these nodes can reach Ray's ports, loopback too.
mkdir -p "$LPSTUDY_STORAGE/tokens"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$LPSTUDY_STORAGE/tokens/$SLURM_JOB_ID"
(umask 077 && rm -f "$RAY_AUTH_TOKEN_PATH" && python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$RAY_AUTH_TOKEN_PATH")

export LPSTUDY_CACHE="${LPSTUDY_CACHE:-$LPSTUDY_STORAGE/cache}"
export LPSTUDY_DATA="${LPSTUDY_DATA:-$LPSTUDY_STORAGE/data}"
export MLFLOW_TRACKING_URI="${MLFLOW_TRACKING_URI:-sqlite:///$LPSTUDY_STORAGE/mlflow.db}"
export RAY_USAGE_STATS_ENABLED=0
unset RAY_ADDRESS

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
host=127.0.0.1
if [ ${#nodes[@]} -gt 1 ]; then # as another node sees it: its own idea of its name may be loopback
  host=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[-1]}" getent ahostsv4 "${nodes[0]}" | awk 'NR == 1 { print $1 }') || host=''
  [ -n "$host" ] || { echo "clusters/slurm.sh: ${nodes[-1]} does not know the address of ${nodes[0]}" >&2; leave 1; }
fi
port=$((20000 + SLURM_JOB_ID % 3000 * 4)) # above Ray's workers (10002-19999), below the kernel's own; jobs share nodes
address=$host:$port
scratch=/tmp/ray-$SLURM_JOB_ID

on_node "${nodes[0]}" ray start --head --block --node-ip-address="$host" --port="$port" \
  --dashboard-host=127.0.0.1 --dashboard-port=$((port + 1)) --ray-client-server-port=$((port + 2)) \
  --num-cpus="$SLURM_CPUS_PER_TASK" --temp-dir="$scratch"
until ray health-check --address "$address" >/dev/null 2>&1; do
  [ "$told" = 0 ] || leave "$PAUSED"
  kill -0 "${steps[0]}" 2>/dev/null || leave 1
  sleep 1
done
for node in "${nodes[@]:1}"; do
  on_node "$node" ray start --block --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --temp-dir="$scratch"
done

# The sweep counts what fits when it starts: all nodes must be there.
run env RAY_ADDRESS="$address" python -c '
import sys, time, ray
ray.init(logging_level="ERROR")
deadline = time.monotonic() + float(sys.argv[2])
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    if time.monotonic() > deadline:
        sys.exit("clusters/slurm.sh: not all nodes have joined within %s s" % sys.argv[2])
    time.sleep(1)
' "${#nodes[@]}" "$JOINED_SECONDS"
[ "$told" = 0 ] || leave "$PAUSED"
[ "$code" = 0 ] || leave "$code"

run env RAY_ADDRESS="$address" python -m lpstudy.sweep "$@" \
  --storage "$LPSTUDY_STORAGE/studies" --reports "$LPSTUDY_STORAGE/reports"
leave "$code"
