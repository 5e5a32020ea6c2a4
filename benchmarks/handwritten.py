"""What a user would write to get scores and heatmaps: the other side of ``throughput.py``.

python handwritten.py FILES OUTPUT THREADS {one,batch} {overlays,none}

``one``: torchxrayvision's DenseNet121 and Grad-CAM of the grad-cam package, image by image.
``batch``: eight at a time, the network in bfloat16, Grad-CAM by the book.
Weights are random: the speed is the same and nothing is downloaded. Where one of the packages
is missing, DenseNet121 of torchvision with the same input and Grad-CAM by the book take its
place; the first line says so.
The last line is the seconds of the loop, wall and processor.
"""

import csv
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision

files, output = Path(sys.argv[1]), Path(sys.argv[2])
torch.set_num_threads(int(sys.argv[3]))
is_batched, writes_overlays = sys.argv[4] == "batch", sys.argv[5] == "overlays"
size = 8 if is_batched else 1


def build_network() -> tuple[torch.nn.Module, torch.nn.Module, str]:
    """The network, the layer that Grad-CAM looks at, and where it is from."""
    try:
        import torchxrayvision

        network = torchxrayvision.models.DenseNet(weights=None).eval()
        return network, network.features.denseblock4, "torchxrayvision"
    except ImportError:
        network = torchvision.models.densenet121(num_classes=18).eval()
        network.features.conv0 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        return network, network.features.denseblock4, "torchvision"


class PlainGradCam:
    """Weights of the channels are the mean gradients of the highest score."""

    def __init__(self, network: torch.nn.Module, layer: torch.nn.Module) -> None:
        self.network = network
        layer.register_forward_hook(self.keep)

    def keep(self, _module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        """Keeps the features; a copy goes on, since what follows works in place."""
        self.features = output
        return output.clone()

    def __call__(self, input_tensor: torch.Tensor, targets: None) -> np.ndarray:
        """A map from 0 to 1 an image, as large as the input."""
        self.outputs = self.network(input_tensor)
        (slopes,) = torch.autograd.grad(self.outputs.max(1).values.sum(), self.features)
        maps = (slopes.mean((2, 3), keepdim=True) * self.features).sum(1).relu()
        maps = maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-8)
        shape = input_tensor.shape[2:]
        large = torch.nn.functional.interpolate(maps[:, None].float(), shape, mode="bilinear")
        return large[:, 0].detach().numpy()


def read_picture(path: Path) -> np.ndarray:
    """Grey values from -1024 to 1024 on a square of 224 pixels."""
    if path.suffix == ".dcm":
        from pydicom import dcmread
        from pydicom.pixels import apply_voi_lut

        data_set = dcmread(path)
        values = apply_voi_lut(data_set.pixel_array, data_set).astype(np.float32)
        values = (values - values.min()) / max(float(values.max() - values.min()), 1.0) * 255
    else:
        import skimage.io

        values = skimage.io.imread(path).astype(np.float32)
    if values.ndim == 3:
        values = values[:, :, :3].mean(2)
    values = (2 * (values / 255) - 1) * 1024
    side = min(values.shape)
    top, left = ((length - side) // 2 for length in values.shape)
    square = values[top : top + side, left : left + side]
    import skimage.transform

    return skimage.transform.resize(square, (224, 224), preserve_range=True).astype(np.float32)


def draw(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The map over the image."""
    colours = cv2.applyColorMap(np.uint8(255 * heat), cv2.COLORMAP_JET).astype(np.float32) / 255
    mixed = colours + np.stack([grey] * 3, -1)
    return np.uint8(255 * mixed / mixed.max())


network, layer, source = build_network()
try:
    if is_batched:
        raise ImportError("grad-cam turns features into NumPy arrays, which have no bfloat16")
    from pytorch_grad_cam import GradCAM

    cam, method = GradCAM(model=network, target_layers=[layer]), "grad-cam"
except ImportError:
    cam, method = PlainGradCam(network, layer), "plain Grad-CAM"
print(f"{source}, {method}, torch {torch.__version__}")
output.mkdir(parents=True)
paths = sorted(files.iterdir())
start, cpu = time.perf_counter(), time.process_time()
with open(output / "results.csv", "w", newline="") as file:
    writer = csv.writer(file)
    for first in range(0, len(paths), size):
        some = paths[first : first + size]
        images = np.stack([read_picture(path) for path in some])
        with torch.autocast("cpu", torch.bfloat16, enabled=is_batched):
            # One forward and one backward pass: the maps of the highest scores, and the scores.
            heats = cam(input_tensor=torch.from_numpy(images)[:, None], targets=None)
        scores = torch.sigmoid(cam.outputs.float()).tolist()
        for path, image, heat, row in zip(some, images, heats, scores, strict=True):
            if writes_overlays:
                cv2.imwrite(str(output / f"{path.stem}.jpg"), draw((image + 1024) / 2048, heat))
            writer.writerow([path, *row])
print(time.perf_counter() - start, time.process_time() - cpu)
