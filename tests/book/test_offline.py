"""The offline edition opens from a folder, without a server and without a network.

The tests skip if the book is not built or Chromium is missing. Slides, PDF and wheel have tests of their own.
"""

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import offline  # noqa: E402

HTML = ROOT / "book" / "_build" / "html"
SLIDES = ROOT / "runs" / "slides"
HARMLESS = ("THEBE_JS_URL", "Got invalid theme mode")  # messages of Jupyter Book itself

pytestmark = [
    pytest.mark.skipif(not (HTML / "intro.html").exists(), reason="the book is not built: make book"),
    pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no Chromium"),
]
