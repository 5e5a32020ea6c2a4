"""Images of one patient, study or picture are never parted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chestx.datasets.example import Manifest
from chestx.datasets.groups import group_examples, join_groups, name_duplicates
from chestx.datasets.split_record import SPLIT_ID

MakeManifest = Callable[..., Manifest]


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ({"patient_id": "1"}, {"patient_id": "1"}, True),
        ({"patient_id": "1"}, {"patient_id": "2"}, False),
        ({"patient_id": "1", "source": "a"}, {"patient_id": "1", "source": "b"}, False),
        ({"patient_id": "a:1", "source": "a"}, {"patient_id": "a:1", "source": "b"}, True),
        ({"patient_id": "c:1", "source": "a"}, {"patient_id": "c:1", "source": "b"}, False),
        ({"study_id": "1"}, {"study_id": "1"}, True),
        ({"study_id": "1", "source": "a"}, {"study_id": "1", "source": "b"}, False),
        ({"study_id": "1"}, {"patient_id": "1"}, False),
        ({"dup_group": "1", "source": "a"}, {"dup_group": "1", "source": "b"}, True),
        ({"group": "1", "source": "a"}, {"group": "1", "source": "b"}, True),
        ({"group": "1"}, {"dup_group": "1"}, False),
        ({"path": "x/a.png"}, {"path": "x/../x/./a.png"}, True),
        ({}, {}, False),
    ],
)
def test_what_ties_two_images(
    make_manifest: MakeManifest,
    first: dict[str, str],
    second: dict[str, str],
    is_one: bool,
) -> None:
    groups = group_examples(make_manifest([("NORMAL", first), ("NORMAL", second)]))
    assert groups.tolist() == [0, 0 if is_one else 1]


def test_an_absolute_and_a_relative_path_of_one_file_tie(make_manifest: MakeManifest) -> None:
    folder = make_manifest([("NORMAL", {})]).folder
    manifest = make_manifest(
        [("NORMAL", {"path": "a.png"}), ("NORMAL", {"path": str(folder / "a.png")})]
    )
    assert group_examples(manifest).tolist() == [0, 0]


def test_ties_are_chained_and_numbered_in_the_order_of_the_table(
    make_manifest: MakeManifest,
) -> None:
    manifest = make_manifest(
        [
            ("NORMAL", {"patient_id": "alone"}),
            ("NORMAL", {"patient_id": "p"}),
            ("NORMAL", {"dup_group": "d"}),
            ("NORMAL", {"group": "g"}),
            ("NORMAL", {"patient_id": "p", "dup_group": "d"}),
            ("NORMAL", {}),
        ]
    )
    assert group_examples(manifest).tolist() == [0, 1, 1, 2, 1, 3]


def test_groups_do_not_depend_on_the_order_of_rows(make_manifest: MakeManifest) -> None:
    generator = np.random.default_rng(0)
    rows = [
        (
            "NORMAL",
            {
                "path": str(number),
                "patient_id": str(generator.integers(60)),
                "dup_group": str(generator.integers(80)) if generator.random() < 0.3 else "",
            },
        )
        for number in range(200)
    ]
    groups = group_examples(make_manifest(rows))
    order = generator.permutation(len(rows))
    shuffled = group_examples(make_manifest([rows[number] for number in order]))
    same = groups[:, None] == groups[None, :]
    assert np.array_equal(same[np.ix_(order, order)], shuffled[:, None] == shuffled[None, :])
    assert 1 < len(set(groups.tolist())) < 200


def test_groups_are_joined_by_pairs_of_their_images() -> None:
    groups = np.array([5, 5, 9, 2, 9])
    assert join_groups(groups, []).tolist() == [0, 0, 1, 2, 1]
    assert join_groups(groups, [(3, 4), (4, 3), (2, 2)]).tolist() == [0, 0, 1, 1, 1]


def test_duplicates_get_a_group_and_known_ones_keep_its_name(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(
        [
            ("NORMAL", {"other": {SPLIT_ID: "0123", "note": "x"}}),
            ("NORMAL", {"dup_group": "b"}),
            ("NORMAL", {"dup_group": "same-1"}),
            ("NORMAL", {}),
            ("NORMAL", {"dup_group": "a"}),
            ("NORMAL", {}),
            ("NORMAL", {"dup_group": "a"}),
        ]
    )
    named = name_duplicates(manifest, [(0, 3), (1, 6)])
    assert [example.dup_group for example in named.examples] == [
        "same-2", "b", "same-1", "same-2", "b", "", "b",
    ]  # fmt: skip
    assert named.examples[0].other == {"note": "x"}
