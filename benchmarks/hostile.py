"""What a folder of hostile files does to a run: ``chestx predict`` on it, as a user would.

python benchmarks/hostile.py [--good FOLDER] [--keep FOLDER] [--reasons] [-- OPTIONS OF predict]

About a thousand bad files of some eighty kinds are made (see hostile_files.py), good ones
and names of files that have vanished are mixed in. Printed for each kind: files, rows,
failed, readable; then time, peak memory of the process tree and of its largest process.
``--reasons`` lists the reasons that were given, by kind. The exit code is 1 where

- a file has no row or several, or rows are out of order,
- a failed row has no reason, or one that names no fault (an internal error),
- a file is not what is expected of it,
- a good file's row differs from the one that it gets when run alone,
- the run ends otherwise than with exit code 3 ("some files could not be read").
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hostile_files import Entry, make_hostile_folder
from hostile_seeds import SAMPLES

SOME_FAILED = 3
VAGUE = ("internal error", "error)", "traceback")
"""What a reason must not say: it names the program's trouble and not the file's fault."""

Row = dict[str, str]


@dataclass(slots=True)
class MemoryWatch:
    """Samples the resident memory of a process and all its descendants from ``/proc``.

    Attributes:
        pid: of the root.
        tree_mb: highest sum seen; pages that processes share count for each.
        largest_mb: highest of a single process, by the kernel's own record.
    """

    pid: int
    interval_s: float = 0.05
    tree_mb: float = 0.0
    largest_mb: float = 0.0
    _done: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to sample in a thread."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self.interval_s):
            sizes = [_read_memory(pid) for pid in list_descendants(self.pid)]
            self.tree_mb = max(self.tree_mb, sum(now for now, _ in sizes))
            self.largest_mb = max([self.largest_mb, *(peak for _, peak in sizes)])


def list_descendants(root: int) -> list[int]:
    """A process and everything that it started, as it is now."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for task in Path("/proc", str(pid), "task").glob("*/children"):
            try:
                waiting += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def _read_memory(pid: int) -> tuple[float, float]:
    """Resident megabytes now and at most."""
    try:
        lines = Path("/proc", str(pid), "status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(sizes.get("VmRSS", 0)) / 1024, int(sizes.get("VmHWM", 0)) / 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One run of ``chestx predict``."""

    exit_code: int
    seconds: float
    tree_mb: float
    largest_mb: float
    rows: list[Row]
    messages: str


def run_predict(inputs: Sequence[str], output: Path, options: Sequence[str], *, cap_gb: int) -> Run:
    """Runs it in a process of its own; its rows are those of ``results.csv``.

    ``cap_gb`` of address space a process keeps a run without limits of its own from
    taking the machine with it.
    """
    script = Path(sys.executable).with_name("chestx")
    start_it = "import sys; from chestx.cli import main; sys.exit(main())"
    program = [str(script)] if script.exists() else [sys.executable, "-c", start_it]
    command = [*program, "predict", *inputs, "-o", str(output), *options]
    start = time.perf_counter()
    with open(output.with_suffix(".log"), "w+b") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        resource.prlimit(process.pid, resource.RLIMIT_AS, (cap_gb << 30, cap_gb << 30))
        watch = MemoryWatch(process.pid)
        watch.start()
        exit_code = process.wait()
        watch.stop()
        log.seek(0)
        messages = log.read().decode("utf-8", "replace")
    seconds = time.perf_counter() - start
    rows: list[Row] = []
    table = output / "results.csv"
    if table.exists():
        csv.field_size_limit(1 << 30)
        with open(table, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    return Run(exit_code, seconds, watch.tree_mb, watch.largest_mb, rows, messages)


def list_expected_order(folder: Path, entries: Sequence[Entry]) -> list[str]:
    """Paths of the folder's files in the order of the table: depth first, by name."""
    return sorted((str(folder / entry.path) for entry in entries), key=lambda path: path.split("/"))


def find_violations(
    run: Run, expected: Sequence[tuple[str, Entry]], alone: dict[str, Row]
) -> list[str]:
    """Everything that a hostile folder must not be able to do, in sentences."""
    from chestx.export.table import neutralise_cell

    wrong = []
    if run.exit_code != SOME_FAILED:
        wrong.append(f"exit code: expected {SOME_FAILED}, got {run.exit_code}")
    if "Traceback" in run.messages:
        wrong.append("a traceback reached the user")
    if len(run.rows) != len(expected):
        wrong.append(f"rows: expected {len(expected)}, got {len(run.rows)}")
    for row, (path, entry) in zip(run.rows, expected, strict=False):
        if row["path"] != neutralise_cell(path):
            wrong.append(f"order: expected {path!a}, got {row['path']!a}")
            break
        wrong += [f"{entry.path!a}: {fault}" for fault in _judge_row(row, entry, alone)]
    return wrong


def _judge_row(row: Row, entry: Entry, alone: dict[str, Row]) -> list[str]:
    faults = []
    is_failed = row["status"] == "failed"
    reason = row["error"].lower()
    if is_failed and (not reason.strip() or any(vague in reason for vague in VAGUE)):
        faults.append(f"the reason names no fault: {row['error']!r}")
    if is_failed and entry.must_name and entry.must_name not in reason:
        faults.append(f"the reason does not say {entry.must_name!r}: {row['error']!r}")
    if not is_failed and row["status"] != "ok":
        faults.append(f"status: expected ok or failed, got {row['status']!r}")
    if entry.expected != "either" and is_failed != (entry.expected == "failed"):
        faults.append(f"expected {entry.expected}, got {row['status']} {row['error']}")
    if entry.kind == "good":
        without = {key: value for key, value in row.items() if key not in ("path", "heatmap")}
        if without != alone[Path(entry.path).name]:
            faults.append("its row differs from the one that it gets when run alone")
    if len(row["notes"]) > 10_000:
        faults.append(f"its notes have {len(row['notes'])} characters")
    return faults


def print_kinds(run: Run, expected: Sequence[tuple[str, Entry]], *, reasons: bool) -> None:
    """A line for each kind, and on request the reasons under it, numbers left out."""
    from chestx.export.table import neutralise_cell

    kinds = {neutralise_cell(path): entry.kind for path, entry in expected}
    files = Counter(entry.kind for _, entry in expected)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    given: dict[str, Counter[str]] = defaultdict(Counter)
    for row in run.rows:
        kind = kinds.get(row["path"], "not ours")
        counts[kind][row["status"]] += 1
        said = row["error"] or f"(read: {row['decision']}) {row['notes'][:80]}"
        given[kind][re.sub(r"[0-9]+", "#", said)] += 1
    print(f"{'kind':<28}{'files':>7}{'rows':>7}{'failed':>8}{'readable':>10}")
    for kind in sorted({*files, *counts}):
        found = counts[kind]
        print(f"{kind:<28}{files[kind]:>7}{found.total():>7}{found['failed']:>8}{found['ok']:>10}")
        if reasons:
            for reason, count in given[kind].most_common():
                print(f"    {count:>4} x {reason[:200]}")


def measure(
    workspace: Path, *, good: Path, options: Sequence[str], reasons: bool, cap_gb: int
) -> bool:
    """Makes the folder, runs, prints; returns whether nothing was wrong."""
    folder = workspace / "hostile"
    entries = make_hostile_folder(folder, good=good)
    by_path = {str(folder / entry.path): entry for entry in entries}
    expected = [(path, by_path[path]) for path in list_expected_order(folder, entries)]
    vanished = workspace / "vanished.txt"
    vanished.write_text("gone-1.dcm\ngone-2.png\ngone/3.jpg\n", "utf-8")
    gone = [str(workspace / name) for name in vanished.read_text().splitlines()]
    expected += [(path, Entry(path, "vanished", "failed", must_name="none")) for path in gone]

    quiet = [*options, "--quiet"]
    by_itself = run_predict([str(good)], workspace / "alone", quiet, cap_gb=cap_gb)
    names = [row["path"] for row in by_itself.rows]
    alone = {
        Path(name).name: {k: v for k, v in row.items() if k not in ("path", "heatmap")}
        for name, row in zip(names, by_itself.rows, strict=True)
    }
    run = run_predict([str(folder), str(vanished)], workspace / "results", quiet, cap_gb=cap_gb)
    print_kinds(run, expected, reasons=reasons)
    wrong = find_violations(run, expected, alone)
    kinds = {entry.kind for _, entry in expected} - {"good"}
    bad = sum(entry.kind != "good" for _, entry in expected)
    print(f"\n{bad} bad files of {len(kinds)} kinds, {len(expected) - bad} good files among them")
    print(f"{run.seconds:.1f} s in all, {1000 * run.seconds / len(expected):.0f} ms a file")
    print(
        f"peak memory: {run.tree_mb:.0f} MB of all processes together, "
        f"{run.largest_mb:.0f} MB of the largest"
    )
    print(
        f"the good files alone: {by_itself.seconds:.1f} s, {by_itself.tree_mb:.0f} MB, "
        f"{by_itself.largest_mb:.0f} MB of the largest"
    )
    print(f"violations: {len(wrong)}")
    for sentence in wrong:
        print(f"  {sentence[:400]}")
    if run.exit_code not in (0, SOME_FAILED):
        print(run.messages[-2000:])
    return not wrong


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--good", type=Path, default=SAMPLES, help="folder of good files")
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it")
    parser.add_argument("--reasons", action="store_true", help="list the reasons by kind")
    parser.add_argument("--cap-gb", type=int, default=16, help="address space of each process")
    parser.add_argument("options", nargs="*", help="for chestx predict, after --")
    given = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1] / "src"))
    sys.path.insert(0, os.environ["PYTHONPATH"].split(os.pathsep)[0])
    settings = {"good": given.good, "options": given.options, "reasons": given.reasons}
    if given.keep:
        given.keep.mkdir(parents=True)
        return 0 if measure(given.keep, cap_gb=given.cap_gb, **settings) else 1
    with tempfile.TemporaryDirectory() as name:
        return 0 if measure(Path(name), cap_gb=given.cap_gb, **settings) else 1


if __name__ == "__main__":
    sys.exit(main())
