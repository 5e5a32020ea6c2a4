"""Answers for every file of a folder through the Python interface.

python examples/batch_predict.py FOLDER
"""

import sys
from pathlib import Path

import chestx

if len(sys.argv) != 2:
    sys.exit("usage: python examples/batch_predict.py FOLDER")
files = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.is_file())
for result in chestx.analyze_files(files, model=chestx.load_model()):
    if isinstance(result, chestx.Report):
        print(result.source, result.decision, result.interpretation, sep="\t")
    else:
        print(result.source, result.decision, result.reason, sep="\t")
print(chestx.CAVEAT)
