"""Unsupervised out-of-distribution detection with memory autoencoders: the package of the book.

The public names are those of `__init__.pyi`; each is imported when it is first used, so that the command line answers
before PyTorch is loaded.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
