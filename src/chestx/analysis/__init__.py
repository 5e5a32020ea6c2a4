"""The use case: a path or bytes in, a report or a failure out.

Batch, notebook and servers all go through :class:`Analyzer`. Files are decoded in
child processes, each of which can be killed alone; the model runs in this process, on
whatever images are ready together. Nothing an image does can end the run: what goes
wrong with it becomes its :class:`~chestx.domain.Failure`.
"""

from chestx.analysis.analyzer import PREVIEW_SIZE, Analyzer, Source
from chestx.analysis.batcher import MicroBatcher
from chestx.analysis.clock import StageClock
from chestx.analysis.judgement import add_occlusion_maps, judge_image
from chestx.analysis.stream import ResultStream, analyze, analyze_files

__all__ = [
    "PREVIEW_SIZE",
    "Analyzer",
    "MicroBatcher",
    "ResultStream",
    "Source",
    "StageClock",
    "add_occlusion_maps",
    "analyze",
    "analyze_files",
    "judge_image",
]
