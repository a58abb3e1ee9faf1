"""A real Slurm on this machine: munge, a controller and three nodes on loopback, in seconds.

    python tests/cluster/slurm_cluster.py up      # from nothing; does nothing if it is up
    python tests/cluster/slurm_cluster.py down    # ends its own processes, by their pid files

It needs root and Debian's packages, which `up` installs where apt-get can. A machine that has a
Slurm of its own is left alone: job steps read /etc/slurm/slurm.conf and nothing else, so there
is room for one.

Nodes n1 to n3 have four GPUs each, which are device files that lead nowhere.

    partition   nodes   priority
    cpu         n1-n2   1         the default
    gpu         n1-n2   1
    spot        n3      1
    urgent      n3      10        puts what runs in `spot` back into the queue
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Daemons lie in sbin, which not every PATH has.
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
MARK = "# Written by Weir's tests/cluster; removed when that cluster is taken down.\n"
ETC = Path("/etc/slurm")
NODES = ("n1", "n2", "n3")
CONTROLLER_PORT = 16817
NODE_PORT = 16820
WAIT = 30.0
"""Seconds in which each daemon has to answer."""

SLURM_CONF = """\
ClusterName=weir
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that was put back waits for as long as its credential is valid: 2 minutes by default.
AuthInfo=socket={run}/munge.socket,cred_expire=5
StateSaveLocation={state}/controller
SlurmdSpoolDir={state}/%n
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/%n.pid
SlurmctldLogFile={log}/slurmctld.log
SlurmdLogFile={log}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmctldParameters=enable_configless
# Nodes may claim more cores than this machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# Memory limits bite without control groups.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
MinJobAge=7200
InactiveLimit=0
SlurmdTimeout=60
MessageTimeout=5
NodeName=n[1-3] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports}] \
CPUs=8 RealMemory=64000 Gres=gpu:{gpus}
PartitionName=cpu Nodes=n[1-2] Default=YES PriorityTier=1 MaxTime=1-0
PartitionName=gpu Nodes=n[1-2] PriorityTier=1 MaxTime=1-0
PartitionName=spot Nodes=n3 PriorityTier=1 MaxTime=1-0
PartitionName=urgent Nodes=n3 PriorityTier=10 PreemptMode=OFF MaxTime=1-0
"""

GRES_CONF = "NodeName=n[1-3] Name=gpu File={state}/gpu[0-{last_gpu}]\n"
GPUS = 4


class CannotRun(Exception):
    """Slurm cannot run here; the message says why, in a line."""


@dataclass(frozen=True)
class Cluster:
    """The one cluster of this machine.

    Attributes:
        home: folder of its state, logs and pid files.
    """

    home: Path = Path("/var/lib/weir-test-cluster")

    @property
    def log(self) -> Path:
        """Folder of the daemons' logs."""
        return self.home / "log"

    def is_up(self) -> bool:
        """Whether it runs already."""
        return self._pid("slurmctld") is not None

    def up(self) -> None:
        """Bring it up; what is up already stays.

        Raises:
            CannotRun: not root, no packages, or another Slurm.
        """
        _check_machine()
        self._configure()
        self._start("munged", "munge", self._munged)
        self.start_controller()
        for node in NODES:
            self._start(node, "slurmd", ["slurmd", "-N", node])
        _until("nodes are idle", lambda: self._states() == {"idle"} or self._resume())

    def down(self) -> None:
        """End what `up` has started, and remove what it has written."""
        for name in (*NODES, "slurmctld", "munged"):
            self._stop(name)
        for name in ("slurm.conf", "gres.conf"):
            if _is_ours(ETC / name):
                (ETC / name).unlink()
        shutil.rmtree(self.home, ignore_errors=True)

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers."""
        self._start("slurmctld", "slurmctld", ["slurmctld", "-i"])
        _until("slurmctld answers", lambda: _quiet("scontrol", "ping"))

    def stop_controller(self) -> None:
        """Stop slurmctld; jobs go on on their nodes."""
        self._stop("slurmctld")

    def _configure(self) -> None:
        run = self.home / "run"
        for folder in (run, self.log, self.home / "controller", *(self.home / n for n in NODES)):
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        key = self.home / "munge.key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_bytes(os.urandom(128))
        for number in range(GPUS):
            gpu = self.home / f"gpu{number}"
            if not gpu.exists():
                try:
                    os.mknod(gpu, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
                except OSError as error:
                    raise CannotRun(f"device files cannot be made here: {error}") from None
        host = os.uname().nodename.partition(".")[0]
        values = {
            "host": host,
            "run": run,
            "state": self.home,
            "log": self.log,
            "ports": f"{NODE_PORT}-{NODE_PORT + len(NODES) - 1}",
            "gpus": GPUS,
            "last_gpu": GPUS - 1,
            "controller_port": CONTROLLER_PORT,
        }
        ETC.mkdir(parents=True, exist_ok=True)
        for name, text in (("slurm.conf", SLURM_CONF), ("gres.conf", GRES_CONF)):
            (ETC / name).write_text(MARK + text.format(**values))

    @property
    def _munged(self) -> list[str]:
        return [
            "munged",
            f"--socket={self.home}/run/munge.socket",
            f"--key-file={self.home}/munge.key",
            f"--pid-file={self._pid_file('munged')}",
            f"--log-file={self.log}/munged.log",
            f"--seed-file={self.home}/munge.seed",
        ]

    def _pid_file(self, name: str) -> Path:
        return self.home / "run" / f"{name}.pid"

    def _pid(self, name: str) -> int | None:
        """The running process of a daemon; a number that another program has by now is none."""
        try:
            pid = int(self._pid_file(name).read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        program = "slurmd" if name in NODES else name
        return pid if Path(words[0]).name.startswith(program) else None

    def _start(self, name: str, what: str, command: list[str]) -> None:
        if self._pid(name) is not None:
            return
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=WAIT)
        if done.returncode:
            raise CannotRun(f"{what} does not start: {(done.stderr or done.stdout).strip()}")
        _until(f"{name} runs", lambda: self._pid(name) is not None)

    def _stop(self, name: str) -> None:
        pid = self._pid(name)
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        try:
            _until(f"{name} ends", lambda: not _runs(pid), 10)
        except CannotRun:
            os.kill(pid, signal.SIGKILL)
        self._pid_file(name).unlink(missing_ok=True)

    def _states(self) -> set[str]:
        done = subprocess.run(["sinfo", "-hN", "-o", "%T"], capture_output=True, text=True)
        return set(done.stdout.split())

    def _resume(self) -> bool:
        """Busy nodes are up; others are asked to come back."""
        if self._states() <= {"idle", "mixed", "allocated", "completing"} and self._states():
            return True
        for node in NODES:
            _quiet("scontrol", "update", f"NodeName={node}", "State=RESUME")
        return False


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise CannotRun("Slurm's daemons need root")
    for name in ("slurm.conf", "gres.conf"):
        if (ETC / name).exists() and not _is_ours(ETC / name):
            raise CannotRun(f"{ETC / name}: this machine has a Slurm of its own")
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise CannotRun(f"{', '.join(missing)} missing, and no apt-get to install them")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode == 0 and not [name for name in missing if not shutil.which(name)]:
            return
    line = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
    raise CannotRun(f"apt-get cannot install {' '.join(PACKAGES)}: {''.join(line)}")


def _is_ours(path: Path) -> bool:
    return path.exists() and path.read_text().startswith(MARK)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _quiet(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=WAIT).returncode == 0


def _until(what: str, holds, seconds: float = WAIT) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise CannotRun(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.1)


def main(words: list[str]) -> int:
    """`up` or `down`."""
    if words not in (["up"], ["down"]):
        print(__doc__, file=sys.stderr)
        return 2
    started = time.monotonic()
    try:
        getattr(Cluster(), words[0])()
    except CannotRun as error:
        print(f"no cluster: {error}", file=sys.stderr)
        return 1
    print(f"{words[0]} after {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
