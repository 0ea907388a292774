"""A batch job of clusters/slurm.sh, with stand-ins that record how the script calls them."""

import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from cluster_files import FOLDER

SCRIPT = FOLDER / "slurm.sh"

STAND_INS = {
    "scontrol": """
case $1 in
  show) printf '%s\\n' $NODES ;;
  *) echo "scontrol $*" >> "$SEEN"; [ ! -e "$BROKEN" ] ;;
esac
""",
    "srun": """
while case $1 in --*) true ;; *) false ;; esac; do
  case $1 in --nodelist=*) node=${1#*=} ;; esac
  shift
done
echo "on $node: $*" >> "$SEEN"
[ "$1" = ray ] || { sleep "$LOOKUP" || exit 2; echo '10.0.0.7       STREAM n1'; exit 0; }
trap 'echo "ended on $node" >> "$SEEN"; exit 143' TERM
echo "up on $node" >> "$SEEN"
while :; do sleep 0.05; done
""",
    "ray": """
echo "ray $*" >> "$SEEN"
[ ! -e "$BROKEN" ]
""",
    "python": """
if [ "$1" = -c ]; then
  case $2 in
    *secrets*) printf 0123abcd; exit ;;
    *) trap 'exit 15' TERM  # as Ray has it
       until [ "$(grep -c '^up on' "$SEEN")" = "$3" ] && [ ! -e "$MISSING" ]; do sleep 0.05; done
       echo "joined at $RAY_ADDRESS: ${*:3}" >> "$SEEN"; exit "${JOINED:-0}" ;;
  esac
fi
echo "sweep at $RAY_ADDRESS: $*" >> "$SEEN"
stat --format='token %a' "$RAY_AUTH_TOKEN_PATH" >> "$SEEN"
echo "$(cat "$RAY_AUTH_TOKEN_PATH") $RAY_AUTH_MODE" >> "$SEEN"
echo "cache $LPSTUDY_CACHE $MLFLOW_TRACKING_URI" >> "$SEEN"
[ -z "$ENDS" ] || exit "$ENDS"
trap 'echo "sweep heard TERM" >> "$SEEN"; sleep 0.3; exit "$AFTER_TERM"' TERM
echo waiting >> "$SEEN"
while :; do sleep 0.05; done
""",
}
"""Stand-ins. `ENDS`: the sweep's exit code; empty: it waits for SIGTERM and exits with `AFTER_TERM`."""


@dataclass
class Job:
    """One batch job."""

    folder: Path
    process: "subprocess.Popen[str]" = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir()
        for name, body in STAND_INS.items():
            path = self.folder / "bin" / name
            path.write_text(f"#!/bin/bash\n{body}")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def begin(self, *words: str, nodes: str = "n1 n2", **variables: str) -> None:
        """Start the script as Slurm would, on its first node."""
        known = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "SEEN": str(self.folder / "seen"),
            "BROKEN": str(self.folder / "broken"),
            "MISSING": str(self.folder / "missing"),
            "NODES": nodes,
            "ENDS": "",
            "LOOKUP": "0",
            "AFTER_TERM": str(75),
            "LPSTUDY_STORAGE": str(self.folder / "shared"),
            "SLURM_JOB_ID": "4321",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_CPUS_PER_TASK": "8",
        }
        self.process = subprocess.Popen(
            ["bash", str(SCRIPT), *words],
            cwd=self.folder,
            env=known | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self) -> tuple[int, str]:
        """Wait for the script; its exit code and standard error."""
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err

    @property
    def seen(self) -> list[str]:
        """The recorded calls, in order."""
        path = self.folder / "seen"
        return path.read_text().splitlines() if path.exists() else []

    def called(self, word: str) -> list[str]:
        """The recorded calls of a command."""
        return [line for line in self.seen if line.startswith(word)]
