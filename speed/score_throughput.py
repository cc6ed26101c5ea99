"""Throughput of `lamae score`, compared with the network alone, and of an exported model, compared with PyTorch.

Run: python speed/score_throughput.py [--files 50000] [--workers 2]

The images are random 28 x 28 images in a temporary folder, as PNG files and as one array. The detector is an
autoencoder trained for one epoch. All figures come from one run. Peak memory is that of this process.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lamae_tutorial import AutoEncoder, noise_images
from lamae_tutorial.own_images.scoring import score_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    images = noise_images(options.files).images
    detector = AutoEncoder(epochs=1, random_state=0, device="cpu").fit(images[:1000])
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "in"
        folder.mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image[0].numpy()).save(folder / f"{number:06}.png")
        np.save(Path(work) / "in.npy", images[:, 0].numpy())
        before = memory()
        rates = {
            "bare network": rate(options.files, lambda: detector.score(images)),
            "lamae score, .npy": rate(
                options.files, lambda: score_images(detector, f"{work}/in.npy", Path(work) / "a.csv")
            ),
            "lamae score, PNG files": rate(
                options.files,
                lambda: score_images(detector, str(folder), Path(work) / "b.csv", workers=options.workers),
            ),
        }
        rates |= exported(detector, images, Path(work) / "model.onnx")
    print(f"{options.files} images of 28 x 28, {options.workers} workers, {torch.get_num_threads()} threads")
    for name, value in rates.items():
        print(f"{name:24} {value:8.0f} images/s, {rates['bare network'] / value:5.1f} times the bare network's time")
    print(f"peak memory: {before:.0f} MiB before, {memory():.0f} MiB after")


def exported(detector: AutoEncoder, images: torch.Tensor, path: Path) -> dict[str, float]:
    """Return the rate of the exported model in onnxruntime, in batches of 1024; empty if onnxruntime is missing."""
    try:
        import onnxruntime

        from lamae_tutorial.own_images.export import export_onnx

        export_onnx(detector, path)
    except (ImportError, ValueError):
        return {}
    print(f"exported model: {path.stat().st_size / 2**10:.0f} KiB")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def score_all() -> None:
        for batch in images.split(1024):
            session.run(None, {"images": batch.numpy().astype(np.float32) / 255})

    return {"onnxruntime": rate(len(images), score_all)}


def rate(n: int, work) -> float:
    start = time.perf_counter()
    work()
    return n / (time.perf_counter() - start)


def memory() -> float:
    """Return the peak memory so far in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
