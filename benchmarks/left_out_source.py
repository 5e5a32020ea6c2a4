"""What adaptation, alignment, ensembles and views bring on a source that training never saw.

python benchmarks/left_out_source.py list SOURCE CONFIG.toml > place.txt
python benchmarks/left_out_source.py score SOURCE RUN [RUN ...] [--aligned RUN]

CONFIG and the runs leave the source out by a condition `source!=NAME` of `where`. The patients of
the source's training part are halved: one half, without labels, is what a model may be adapted or
aligned to (`list` names its images, for `unlabelled` in a configuration); the other half and
the validation part are scored. Test images are never touched.

Question: any finding, scored by 1 - P(no finding). The first run is what all else is
held against, pair by pair; intervals resample whole patient or duplicate groups.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chestx.datasets.example import Example, Manifest, Target
from chestx.datasets.groups import group_examples
from chestx.datasets.manifest import read_manifest
from chestx.learning.adaptation import adapt_network
from chestx.learning.backbones import Network, build_network
from chestx.learning.config import TrainConfig, config_from_table, load_config
from chestx.learning.pixels import load_pixels
from chestx.learning.training import load_best
from chestx.metrics.ranking import compute_aurocs
from chestx.metrics.resampling import bootstrap_figures

SHARES = (0.25, 0.5, 1.0)


def read_source(config: TrainConfig, base: Path, source: str) -> Manifest:
    """The rows of the source that was left out, test images aside."""
    key = config.columns.get("source", "source")
    where = [item for item in config.where if not item.startswith(f"{key}!=")]
    table = read_manifest(
        base / config.manifest,
        columns=config.columns,
        labels=list(config.labels),
        rename=config.rename,
        where=[*where, f"{key}={source}"],
    )
    return table.manifest


def is_given(example: Example) -> bool:
    """Whether the image belongs to the half that may be looked at without its label."""
    name = example.group or example.patient_id or example.path
    first_half = int(hashlib.sha256(f"half{name}".encode()).hexdigest(), 16) % 2 == 0
    return example.split == "train" and first_half


class Place:
    """The left-out source as arrays."""

    def __init__(self, manifest: Manifest, config: TrainConfig) -> None:
        kept = [e for e in manifest.examples if e.split in ("train", "validation")]
        scored = [e for e in kept if not is_given(e) and Target.PRESENT in e.targets]
        with tempfile.TemporaryDirectory() as cache:
            given = [manifest.resolve(e) for e in kept if is_given(e)]
            self.given = self._load(given, config, cache)
            self.scored = self._load([manifest.resolve(e) for e in scored], config, cache)
        normal = config.labels.index(config.no_finding)
        self.normal = normal
        self.y_true = np.array([e.targets[normal] is not Target.PRESENT for e in scored])
        number = dict(
            zip((e.path for e in manifest.examples), group_examples(manifest), strict=True)
        )
        self.groups = np.array([number[e.path] for e in scored])

    @staticmethod
    def _load(paths: list[str], config: TrainConfig, cache: str) -> np.ndarray:
        pixels, failures = load_pixels(paths, config.input, Path(cache), 1, None)
        if failures:
            sys.exit(f"{len(failures)} images cannot be read")
        return np.array(pixels)


@torch.no_grad()
def score(network: Network, pixels: np.ndarray, normal: int) -> np.ndarray:
    """1 - P(no finding) of each image."""
    network.eval()
    rows = [
        torch.softmax(network(torch.from_numpy(pixels[start : start + 32, None])).logits, 1)
        for start in range(0, len(pixels), 32)
    ]
    return 1 - torch.cat(rows)[:, normal].numpy().astype(np.float64)


def load_run(run: Path) -> tuple[Network, TrainConfig]:
    """The best weights of a run."""
    record: dict[str, Any] = json.loads((run / "run.json").read_text())
    config = config_from_table(record["config"], where=str(run))
    network = build_network(
        config.backbone,
        labels=len(config.labels),
        hidden_features=config.hidden_features,
        output_stride=config.output_stride,
    )
    load_best(network, run)
    return network, config


def report(name: str, place: Place, first: np.ndarray, second: np.ndarray) -> None:
    """One row: the figure of the first, of the second, and their difference."""

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        before = compute_aurocs(place.y_true, first, weights)
        after = compute_aurocs(place.y_true, second, weights)
        return {"before": before, "after": after, "difference": after - before}

    found = bootstrap_figures(
        measure, place.groups, generator=np.random.default_rng(0), repeats=2000
    )
    after, difference = found["after"], found["difference"]
    print(
        f"| {name} | {after.value:.3f} ({after.low:.3f} to {after.high:.3f}) | "
        f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}) |",
        flush=True,
    )


def run_score(source: str, runs: list[Path], aligned: list[Path]) -> None:
    """Prints the table."""
    network, config = load_run(runs[0])
    place = Place(read_source(config, Path(), source), config)
    plain = score(network, place.scored, place.normal)
    print(f"{source}: {len(place.y_true)} images scored, {place.y_true.sum()} with a finding, ")
    print(f"{len(set(place.groups))} groups; {len(place.given)} images given without labels")
    print("| model | AUROC | difference |\n|---|---|---|")
    report("plain", place, plain, plain)
    flipped = score(network, np.ascontiguousarray(place.scored[:, :, ::-1]), place.normal)
    report("plain and flipped view", place, plain, (plain + flipped) / 2)
    for share in SHARES:
        network, _ = load_run(runs[0])
        adapt_network(network, place.given, share=share, seed=0)
        adapted = score(network, place.scored, place.normal)
        report(f"batch-norm statistics, share {share:g}", place, plain, adapted)
    scores = [plain]
    for run in runs[1:]:
        scores.append(score(load_run(run)[0], place.scored, place.normal))
        report(f"seed of {run.name}", place, plain, scores[-1])
    if len(scores) > 1:
        report(f"ensemble of {len(scores)}", place, plain, np.mean(scores, axis=0))
    for run in aligned:
        other = score(load_run(run)[0], place.scored, place.normal)
        report(f"Deep CORAL, {run.name}", place, plain, other)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["list", "score"])
    parser.add_argument("source")
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--aligned", nargs="*", type=Path, default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "list":
        path = given.paths[0]
        manifest = read_source(load_config(path), path.parent, given.source)
        print("\n".join(manifest.resolve(e) for e in manifest.examples if is_given(e)))
    else:
        run_score(given.source, given.paths, given.aligned)


if __name__ == "__main__":
    main()
