"""What it saves on a CPU that freed memory stays with the process (`weir.engines.memory`).

    python benchmarks/kept_memory.py

Steps of a score flow of pictures of MNIST's size, likelihood alone, in two processes one after the
other, the second of which keeps its memory. Printed as JSON: processor seconds (user and system,
one thread) of the fastest of several steps, their ratio, and the peak memory of each process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

BATCH, STEPS = 128, 6


def steps(keep: bool) -> dict[str, float]:
    """Seconds of a step, and peak memory, of this process."""
    import torch

    from weir.engines.memory import keep_freed_memory
    from weir.tasks.image.density.density import Density

    if keep and not keep_freed_memory():
        raise SystemExit("only glibc can be told to keep memory")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Density(
        (1, 28, 28), 10, transform="mixture", layers=1, hidden=[1024, 1024], embedding=32
    )
    u, label = torch.randn(BATCH, 1, 28, 28), torch.randint(10, (BATCH,))
    seconds = []
    for _ in range(STEPS):
        begun = time.process_time()
        model.log_prob(u, torch.zeros(BATCH), label).mean().backward()
        seconds.append(time.process_time() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"step_s": round(min(seconds), 3), "peak_mb": round(peak)}


def main() -> None:
    """Print the figures."""
    if len(sys.argv) > 1:
        print(json.dumps(steps(sys.argv[1] == "keep")))
        return
    found = {
        how: json.loads(subprocess.check_output([sys.executable, __file__, how], text=True))
        for how in ("give", "keep")
    }
    found["ratio"] = round(found["give"]["step_s"] / found["keep"]["step_s"], 2)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
