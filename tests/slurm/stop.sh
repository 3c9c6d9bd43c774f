#!/usr/bin/env bash
# Stop the cluster that start.sh started in DIR, by the process numbers it left there; its logs stay.
set -uo pipefail
dir=${1:?usage: stop.sh DIR}
export SLURM_CONF=$dir/slurm.conf

# A number may have gone to another program since, and a zombie is gone.
alive() { case "$(cat "/proc/$1/comm" 2>/dev/null)" in $2*) ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null ;; *) false ;; esac; }
pid_in() { cat "$1" 2>/dev/null || echo 0; }
stop() { # FILE NAME SECONDS
  local pid; pid=$(pid_in "$1")
  alive "$pid" "$2" || return 0
  kill "$pid" 2>/dev/null
  for _ in $(seq 1 $(($3 * 10))); do alive "$pid" "$2" || return 0; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null
}

if alive "$(pid_in "$dir/slurmctld.pid")" slurmctld; then  # scancel would try again for minutes without it
  timeout 10 scancel --state=PENDING,RUNNING,SUSPENDED >/dev/null 2>&1
  for _ in $(seq 1 50); do [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break; sleep 0.2; done
fi
for file in "$dir"/slurmd-*.pid; do stop "$file" slurmd 5; done
stop "$dir/slurmctld.pid" slurmctld 20
stop "$dir/munged.pid" munged 5
# What a lost node's job left behind would ask for its controller for hours.
for process in /proc/[0-9]*; do
  given=$(tr '\0' '\n' 2>/dev/null < "$process/environ" | grep -xE "SLURM_CONF=.*|SLURM_JOB_ID=.*")
  [[ $given == *"SLURM_CONF=$dir/slurm.conf"* ]] || continue
  [[ $given == *SLURM_JOB_ID=* || $(cat "$process/comm") == slurmstepd ]] && kill -9 "${process#/proc/}"
done
rm -f "$dir/env"
