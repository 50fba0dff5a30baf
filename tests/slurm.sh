#!/usr/bin/env bash
# The neural part of the quick preset through SLURM on this machine, against the same run without it.
# Debian or Ubuntu, as root, after `make reproduce` has installed .venv; takes some minutes. Not part of `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
export DEBIAN_FRONTEND=noninteractive PATH="$repository/.venv/bin:$PATH"

if ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null; then
    apt-get update --quiet
    apt-get install --yes --quiet --no-install-recommends slurm-wlm munge
fi
python -m pip install --quiet --disable-pip-version-check snakemake-executor-plugin-slurm==2.8.0

# One machine that is controller and node at once. Its configuration must lie in SLURM's own place: jobs get no
# SLURM_CONF from the plugin, which takes SLURM's variables out of their environment.
conf=/etc/slurm/slurm.conf
if pgrep -x 'slurmctld|slurmd' > /dev/null || [ -e "$conf" ]; then
    echo "SLURM runs on this machine, or $conf exists: use profiles/slurm there"
    exit 1
fi
work=$(mktemp -d)
chmod 755 "$work"
[ -s /etc/munge/munge.key ] || mungekey --create --force
mkdir -p /run/munge /var/log/munge /var/lib/munge "$work/state" "$work/spool"
chown -R munge: /etc/munge /run/munge /var/log/munge /var/lib/munge
pgrep -x munged > /dev/null || su munge -s /bin/sh -c munged
host=$(hostname -s)
mkdir -p "$(dirname "$conf")"
trap 'rm -f "$conf"; kill $(cat "$work"/*.pid 2> /dev/null) 2> /dev/null || true' EXIT
cat > "$conf" << CONF
ClusterName=test
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
NodeName=$host CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
slurmctld
slurmd
for _ in $(seq 30); do
    [ "$(sinfo --noheader --format=%T)" = idle ] && break
    sleep 1
done
sinfo
[ "$(sinfo --noheader --format=%T)" = idle ] || { cat "$work"/*.log; exit 1; }

# The preset: two seeds of the networks of quick; jobs as small as a cluster's.
cat > "$work/slurm.yaml" << YAML
preset: slurm
models: [neural]
seeds: [0, 1]
iterations: 2
noise: [0.2]
policies: [influence, uniform]
one_job: seed
datasets:
  digits:
    max_development: 900
    models: {neural: {width: 16, epochs: 4, learning_rate: 6.0e-3}}
  affairs:
    models: {neural: {epochs: 4, batch_size: 128}}
YAML
mkdir "$work/local" "$work/slurm"
snakemake --directory "$work/local" --cores "$(nproc)" --configfile "$work/slurm.yaml" --quiet rules progress
snakemake --directory "$work/slurm" --workflow-profile profiles/slurm --configfile "$work/slurm.yaml" \
    --default-resources mem_mb=1500 runtime=30 --slurm-no-account --slurm-status-command squeue \
    --slurm-init-seconds-before-status-checks 2 --jobs "$(nproc)" \
    --quiet rules progress

python - "$work/local/results/slurm" "$work/slurm/results/slurm" << 'PYTHON'
import csv
import sys
from pathlib import Path

import numpy as np

local, cluster = map(Path, sys.argv[1:])
rows = [list(csv.DictReader((folder / "metrics.csv").open())) for folder in (local, cluster)]
untimed = [[{key: row[key] for key in row if not key.endswith("_seconds")} for row in table] for table in rows]
assert untimed[0] == untimed[1] and len(rows[0]) > 10, "the metrics differ"
names = [path.relative_to(local) for kind in ("model", "scores") for path in local.rglob(f"{kind}.npz")]
assert len(names) >= len(rows[0]), "models or scores are missing"
for name in names:
    one, other = (np.load(folder / name) for folder in (local, cluster))
    same = [key for key in one.files if one[key].dtype.kind == "U" or one[key].tobytes() == other[key].tobytes()]
    assert one.files == other.files == same, f"{name} differs"
print(f"through SLURM and without it the same: {len(rows[0])} rows of metrics, {len(names)} files of models and scores")
PYTHON
