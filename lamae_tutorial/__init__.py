"""Unsupervised out-of-distribution detection with memory autoencoders: the package of the book.

`__init__.pyi` lists the public names. Each is imported when it is first used, so the command line can answer before
PyTorch is loaded.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
