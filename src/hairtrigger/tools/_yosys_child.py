"""Run in a Python of its own by yosys.py: carry out the passes of a job file, one after another.

Yosys may take gigabytes, and may end the process it lives in; here neither hurts the caller.
"""

import json
import resource
import sys
from pathlib import Path


def main() -> None:
    """Carry out the job that the first argument names."""
    job = json.loads(Path(sys.argv[1]).read_text())
    if job["memory_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_AS, (job["memory_bytes"], job["memory_bytes"]))
    from pyosys import libyosys  # late: its memory counts too

    design = libyosys.Design()
    for command in job["passes"]:
        print(f"hairtrigger: {command}", flush=True)
        design.run_pass(command)


if __name__ == "__main__":
    main()
