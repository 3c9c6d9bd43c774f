#!/usr/bin/env bash
# Start a throw-away SLURM cluster on this machine: munged, slurmctld and a slurmd for each of two pretended nodes.
# Needs no root, no systemd, no cgroups; everything lies in one folder. Programs:
#   apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge
# Usage:  tests/slurm/start.sh DIR && . DIR/env     then sinfo, sbatch, srun, ... work
#         tests/slurm/stop.sh DIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:?usage: start.sh DIR}
nodes=2 cpus=4 megabytes=8192 host=$(hostname -s)
export PATH=$PATH:/usr/sbin:/sbin

die() { echo "start.sh: $*" >&2; exit 1; }
on_exit() {
  local status=$?
  [ "$status" = 0 ] && return
  for log in "$dir"/*.log; do [ -s "$log" ] && { echo "--- $log"; tail -n 15 "$log"; } >&2; done
  "$here/stop.sh" "$dir" >&2
}
for tool in munged mungekey slurmctld slurmd sinfo; do
  command -v "$tool" >/dev/null || die "$tool not found: apt-get install slurmctld slurmd slurm-client munge"
done
getent hosts "$host" >/dev/null || die "the name of this machine does not resolve: echo 127.0.0.1 $host >> /etc/hosts"
[ ! -e "$dir/env" ] || die "a cluster runs in $dir already"

trap on_exit EXIT
umask 022
mkdir -p "$dir/state"

port=$(python3 - "$((nodes + 1))" "$$" <<'PY'
import socket, sys
number, process = map(int, sys.argv[1:])
bases = range(26800, 32000, 64)  # below the ports that the system gives away
first = process % len(bases)  # two clusters that start at once look at different ones
for base in [*bases[first:], *bases[:first]]:
    taken = [socket.socket() for _ in range(number)]
    try:
        for offset, one in enumerate(taken):
            one.bind(("127.0.0.1", base + offset))
        print(base)
        break
    except OSError:
        continue
    finally:
        for one in taken:
            one.close()
PY
)

(umask 077; mungekey --create --keyfile="$dir/munge.key" --bits=1024)
# --force: it would rather have a folder that every user may enter.
munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
       --log-file="$dir/munged.log" --seed-file="$dir/munged.seed" --num-threads=2

sed -e "s|@DIR@|$dir|g" -e "s|@HOST@|$host|g" -e "s|@USER@|$(id -un)|g" -e "s|@PORT@|$port|g" \
    -e "s|@MEMORY@|$((megabytes / cpus))|g" "$here/slurm.conf.in" > "$dir/slurm.conf"
for n in $(seq 1 "$nodes"); do
  echo "NodeName=n$n NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + n)) CPUs=$cpus RealMemory=$megabytes"
done >> "$dir/slurm.conf"
# Since 23.11 slurmd can be told not to look for cgroups.
case "$(slurmd -V | grep -o '[0-9][0-9]\.[0-9][0-9]' | head -n 1)" in
  23.11 | 2[4-9].* | [3-9]*) echo "CgroupPlugin=disabled" > "$dir/cgroup.conf" ;;
esac

export SLURM_CONF=$dir/slurm.conf
slurmctld -c
for n in $(seq 1 "$nodes"); do slurmd -c -N "n$n"; done
for _ in $(seq 1 100); do
  if [ "$(timeout 5 sinfo -h -p main -t idle -o %D 2>/dev/null || true)" = "$nodes" ]; then
    # The nodes' names resolve nowhere, so torch.distributed must be told where to meet.
    printf 'export %s\n' "SLURM_CONF=$dir/slurm.conf" "PATH=\$PATH:/usr/sbin:/sbin" "MASTER_ADDR=127.0.0.1" > "$dir/env"
    exit 0
  fi
  sleep 0.1
done
die "the nodes did not come up"
