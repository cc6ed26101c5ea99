"""Packages of JavaScript that the slides, the drawing page and the tests in a browser need, without Node.js.

Each is a tarball of the npm registry with a fixed version, checked against the SHA-512 that stands here.

Run: python tools/npm.py NAME ... (prints the folder of each)
"""

import argparse
import base64
import hashlib
import io
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

FOLDER = Path(__file__).parent.parent / ".venv" / "npm"
# Name -> (version, SHA-512 in base64: `npm view NAME@VERSION dist.integrity`)
PACKAGES = {
    "axe-core": (
        "4.14.1",
        "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    ),
    "onnxruntime-web": (
        "1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    ),
    "reveal.js": (
        "6.0.2",
        "JYIg5D9aoxoaLeb84O+OvAwsKWdIavVgEDScxtYEXFCT6t6TQrhNtSgogcjdCpdLsWglhJn3zyE3fUOwiH5KEg==",
    ),
}


def package(name: str) -> Path:
    """Return the folder of a package, with its `package.json`; download it at the first call.

    Raises
    ------
    OSError
        The registry cannot be reached.
    ValueError
        What came is another file.
    """
    version, expected = PACKAGES[name]
    folder = FOLDER / f"{name}-{version}"
    if folder.is_dir():
        return folder
    address = f"https://registry.npmjs.org/{name}/-/{name}-{version}.tgz"
    with urllib.request.urlopen(address, timeout=180) as answer:
        tarball = answer.read()
    got = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    if got != expected:
        raise ValueError(f"{address} has the SHA-512 {got}, not {expected}: another file came; try another network")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as part, tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        archive.extractall(part, filter="data")
        if not folder.is_dir():  # another process may have been faster
            (Path(part) / "package").rename(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=sorted(PACKAGES), metavar="NAME")
    for name in parser.parse_args().names:
        try:
            print(package(name))
        except (OSError, ValueError) as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
