"""Fails where an installed distribution is under a licence that the project does not take.

The base install may hold no GPL, LGPL or AGPL part. Run it in an environment that
holds what shall be checked: ``python scripts/check_licences.py``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

REFUSED = re.compile(r"\b[AL]?GPL|General Public License", re.IGNORECASE)

# Distribution -> why a match is no fault; each was read in its licence file.
ALLOWED: dict[str, str] = {}


def find_refused(distributions: list[dict[str, str]]) -> list[str]:
    """Lines for those whose licence is refused and not excused."""
    return [
        f"{item['Name']} {item['Version']}: {item['License']}"
        for item in distributions
        if REFUSED.search(item["License"]) and item["Name"] not in ALLOWED
    ]


def main() -> int:
    """Checks the environment of this interpreter."""
    command = ["pip-licenses", "--format=json", "--from=mixed", f"--python={sys.executable}"]
    listed = subprocess.run(
        [sys.executable, "-m", "piplicenses", *command[1:]],
        check=True,
        capture_output=True,
        text=True,
    )
    distributions = json.loads(listed.stdout)
    refused = find_refused(distributions)
    for line in refused:
        print(f"refused licence: {line}")
    print(f"{len(distributions)} distributions checked, {len(refused)} refused")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
