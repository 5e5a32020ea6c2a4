"""From a path or bytes to a radiograph as a reader sees it, and on to model input.

``reading`` opens files and dispatches by content; ``structure`` decides whether a file
is whole; ``raster`` and ``dicom`` decode; ``quality`` judges the pixels;
``preprocessing`` makes the model's input.
"""
