"""Print the share of branches that the tests took, from the last run's data."""

from __future__ import annotations

import json
import subprocess
import sys


def main() -> int:
    command = [sys.executable, "-m", "coverage", "json", "-q", "-o", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr or done.stdout, file=sys.stderr)
        return done.returncode
    totals = json.loads(done.stdout)["totals"]
    taken, all_branches = totals["covered_branches"], totals["num_branches"]
    print(f"Branch coverage: {100 * taken / max(all_branches, 1):.1f} % ({taken} of {all_branches} branches)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
