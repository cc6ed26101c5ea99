"""Bits per dimension of a small PixelCNN on MNIST's test images, 256 levels.

Run: python speed/pixelcnn_bits.py --data DIR [--images N] [--epochs N] [--features N] [--layers N]

For comparison it prints the bits that an independent histogram of each pixel needs. The model must need far fewer.
"""

import argparse

import torch

from lamae_tutorial import PixelCNN, load_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--features", type=int, default=PixelCNN.features)
    parser.add_argument("--layers", type=int, default=PixelCNN.layers)
    options = parser.parse_args()
    train, test = (load_images("mnist", split, options.data).images for split in ("train", "test"))
    test = test[:2000]
    counts = torch.zeros(28 * 28, 256).scatter_add_(1, train.flatten(1).T.long(), torch.ones(28 * 28, len(train)))
    shares = (counts + 1 / 256) / (len(train) + 1)
    independent = -shares.log2().gather(1, test.flatten(1).T.long()).mean().item()
    detector = PixelCNN(
        features=options.features, layers=options.layers, epochs=options.epochs, random_state=0, device="cpu"
    ).fit(train[: options.images])
    each = [f"{epoch['validation_loss']:.3f}" for epoch in detector.history_]
    seconds = sum(epoch["seconds"] for epoch in detector.history_)
    print(f"{options.images} images, {options.epochs} epochs in {seconds:.0f} s; validation {', '.join(each)}")
    print(f"test: {detector.score(test).mean():.3f} bits per dimension; independent pixels: {independent:.3f}")


if __name__ == "__main__":
    main()
