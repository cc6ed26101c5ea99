"""nbval compares text only: chapters are stored without pictures and HTML."""

from typing import Any

from nbval.plugin import IPyNbFile

_init = IPyNbFile.__init__


def _text_only(self: Any, *args: Any, **settings: Any) -> None:
    _init(self, *args, **settings)
    self.skip_compare = (*self.skip_compare, "image/svg+xml", "text/html")


IPyNbFile.__init__ = _text_only
