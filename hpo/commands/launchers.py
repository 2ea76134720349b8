"""Files that others start our workers with: a systemd unit, a Slurm script, objects for Kubernetes.

They are printed, to be read and changed. The address of the database, which may hold a password, is in
none of them: each takes it from where its system keeps such things.
"""

import shlex
import sys
from pathlib import Path
from string import Template

from hpo.errors import HpoError

KINDS = ("systemd", "slurm", "kubernetes")
SYSTEMD = """\
# A service that keeps workers on this machine and shows the studies at http://127.0.0.1:8080/.
#   mkdir -p ~/.config/hpo ~/.config/systemd/user
#   echo 'HPO_STORAGE=postgresql+psycopg://user:password@server/hpo' > ~/.config/hpo/environment
#   chmod 600 ~/.config/hpo/environment
#   hpo launcher systemd > ~/.config/systemd/user/hpo.service
#   systemctl --user daemon-reload && systemctl --user enable --now hpo
#   loginctl enable-linger      # it goes on when you log out
[Unit]
Description=hpo: workers, pages and probes
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
EnvironmentFile=%h/.config/hpo/environment
ExecStart=$hpo serve --workers $workers --data $data
# SIGTERM to the service alone: it lets its workers save and give back what they hold.
KillMode=mixed
TimeoutStopSec=30
SuccessExitStatus=143
Restart=always
RestartSec=5
# It is started again if its main loop says nothing for so long.
WatchdogSec=120
NoNewPrivileges=yes
PrivateTmp=yes

[Install]
WantedBy=default.target
"""
SLURM = """\
#!/bin/bash
# An array of workers for `sbatch`. Each ends when nothing has waited for five minutes, or before its time
# is up; what it holds is saved and given back, and it queues again while there is work.
#   mkdir -p ~/.config/hpo
#   echo 'export HPO_STORAGE=postgresql+psycopg://user:password@server/hpo' > ~/.config/hpo/environment
#   chmod 600 ~/.config/hpo/environment
#   hpo launcher slurm > hpo.sbatch && sbatch hpo.sbatch
#SBATCH --job-name=hpo
#SBATCH --array=1-$workers
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=hpo-%A_%a.log
set -u
. "$$HOME/.config/hpo/environment"

$hpo worker --watch --idle-exit 300 --max-hours 3.9 --data $data &
worker=$$!
# The signal comes two minutes before the limit, or when the job is preempted.
trap 'kill -TERM "$$worker" 2>/dev/null' TERM
wait "$$worker"
status=$$?
while kill -0 "$$worker" 2>/dev/null; do  # a trap ends the wait before the worker has ended
    wait "$$worker"
    status=$$?
done
if [ "$$status" -eq 143 ] && ! $hpo queue | grep -q '^Nothing waits'; then
    scontrol requeue "$${SLURM_ARRAY_JOB_ID:-}_$${SLURM_ARRAY_TASK_ID:-}"
fi
exit "$$status"
"""
KUBERNETES = """\
# Workers in a Deployment that KEDA scales with the number of trials that wait. KEDA must be installed;
# without it leave the two objects at the end out, and set replicas by hand.
#   kubectl create secret generic hpo \\
#       --from-literal=HPO_STORAGE=postgresql+psycopg://user:password@server/hpo \\
#       --from-literal=connection=postgresql://user:password@server/hpo
#   hpo launcher kubernetes | kubectl apply -f -
# The image holds hpo and the images that it trains on; docs/howto/serve.md has a file to build one from.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: hpo-workers
  labels: {app: hpo-workers}
spec:
  replicas: $workers
  selector:
    matchLabels: {app: hpo-workers}
  template:
    metadata:
      labels: {app: hpo-workers}
    spec:
      # A worker that is told to stop saves at the next log point and gives back what it holds.
      terminationGracePeriodSeconds: 30
      securityContext: {runAsNonRoot: true, runAsUser: 1000}
      containers:
        - name: worker
          image: hpo:latest
          args: ["worker", "--watch", "--data", "$data"]
          envFrom:
            - secretRef: {name: hpo}
          # One core a worker: more threads are slower.
          resources:
            requests: {cpu: "1", memory: 1Gi}
            limits: {cpu: "1", memory: 2Gi}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: {drop: ["ALL"]}
---
# Or, for a study that is to be done once, as many workers that end when nothing is left.
apiVersion: batch/v1
kind: Job
metadata:
  name: hpo-until-done
spec:
  completions: $workers
  parallelism: $workers
  backoffLimit: 20
  template:
    spec:
      restartPolicy: OnFailure
      securityContext: {runAsNonRoot: true, runAsUser: 1000}
      containers:
        - name: worker
          image: hpo:latest
          args: ["worker", "--data", "$data"]
          envFrom:
            - secretRef: {name: hpo}
          resources:
            requests: {cpu: "1", memory: 1Gi}
            limits: {cpu: "1", memory: 2Gi}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: {drop: ["ALL"]}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  name: hpo
spec:
  secretTargetRef:
    - {parameter: connection, name: hpo, key: connection}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: hpo-workers
spec:
  scaleTargetRef: {name: hpo-workers}
  minReplicaCount: 0
  maxReplicaCount: $workers
  cooldownPeriod: 300
  triggers:
    - type: postgresql
      metadata:
        # Stacks of 16 trials, a worker each; what runs keeps its worker.
        query: >-
          SELECT ceil(count(*) / 16.0) FROM hpo_attempts
          WHERE state IN ('waiting', 'running')
        targetQueryValue: "1"
      authenticationRef: {name: hpo}
"""
_TEXTS = {"systemd": SYSTEMD, "slurm": SLURM, "kubernetes": KUBERNETES}


def text(kind: str, workers: int, data: str) -> str:
    """Return the file of one of `KINDS`.

    Raises:
        HpoError: There is no such kind, or the name of the data cannot stand in such a file.
    """
    if kind not in KINDS:
        raise HpoError(f"There are launchers for {', '.join(KINDS)}; got {kind!r}.")
    if not data or any(not character.isprintable() or character in "\"'\\%$" for character in data):
        raise HpoError(
            f"--data must be a plain name or path to stand in such a file, got {data!r}."
        )
    program = Path(sys.argv[0]) if Path(sys.argv[0]).name == "hpo" else Path(sys.executable)
    hpo = program.absolute().with_name("hpo")
    is_yaml = kind == "kubernetes"
    return Template(_TEXTS[kind]).substitute(
        hpo=_word(str(hpo), kind), workers=workers, data=data if is_yaml else _word(data, kind)
    )


def _word(text: str, kind: str) -> str:
    """Return a word as a line of such a file has it."""
    if kind == "systemd":
        return f'"{text}"' if " " in text else text
    return shlex.quote(text)
