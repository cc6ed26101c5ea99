# The two commands of the README: `make book` and `make test`. Both make .venv first, with the versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOTEBOOKS := $(wildcard book/notebooks/*.ipynb)

.PHONY: book test notebooks student address colab slides pdf offline clean

# The networks are small: a second thread gains little, and costs much where the cores are busy.
book test: export OMP_NUM_THREADS = 1

book: $(VENV)/.installed
	rm -rf book/_build
	$(BIN)/jupyter-book build book/ -n -W --keep-going
	@echo "The book: file://$(CURDIR)/book/_build/html/index.html"

test: $(VENV)/.installed
	tools/browser.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadscope --ignore tests/book tests
	$(BIN)/python -m pytest -n auto tests/book
	$(BIN)/python -m pytest -n auto --dist loadscope --nbval -W default book/notebooks

# Run the chapters in the mini profile and store their text outputs, as git has them.
notebooks: $(VENV)/.installed
	$(BIN)/python tools/notebooks.py $(NOTEBOOKS)

# Notebooks for students, with stubs instead of the solutions: runs/student. Python alone is enough.
student:
	$(PYTHON) tools/student.py

# Stamp the repository's address into all files that name it: make address URL=https://github.com/OWNER/NAME
address:
	$(PYTHON) tools/address.py $(if $(URL),'$(URL)')

# Run every chapter as on Colab, above $(PYTHON)'s packages. Its first cell installs from the project's address, for
# which git takes the last commit here. torch and numpy must stay as they are.
colab: COLAB := $(CURDIR)/runs/colab
colab: export IPYTHONDIR = $(COLAB)/ipython
colab: export GIT_CONFIG_COUNT = 1
colab: export GIT_CONFIG_KEY_0 = url.file://$(CURDIR).insteadOf
colab: export GIT_CONFIG_VALUE_0 = $(shell $(PYTHON) tools/address.py)
colab:
	rm -rf $(COLAB)
	mkdir -p $(IPYTHONDIR)/profile_default/startup
	echo 'import sys; sys.modules["google.colab"] = sys' > $(IPYTHONDIR)/profile_default/startup/colab.py
	$(PYTHON) -m venv --without-pip $(COLAB)/venv
	$(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > $$($(COLAB)/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/below.pth
	$(COLAB)/venv/bin/python -m pip install --quiet papermill ipykernel
	set -e; for notebook in $(NOTEBOOKS); do \
	  $(COLAB)/venv/bin/python -m papermill --kernel python3 --cwd $(COLAB) $$notebook $(COLAB)/$$(basename $$notebook); done
	ls $(COLAB)/venv/lib/python*/site-packages | grep ^lamae_tutorial
	! ls $(COLAB)/venv/lib/python*/site-packages | grep -E '^(torch|numpy)$$'

# Slides of the chapters of the built book, for a projector: runs/slides/index.html.
slides: $(VENV)/.installed
	$(BIN)/python tools/slides.py $(wildcard book/slides/*.md)

# The whole book as one PDF, from what `make book` has built: runs/lamae-tutorial.pdf.
pdf: $(VENV)/.installed
	tools/browser.sh
	$(BIN)/python tools/pdf.py

# Book, slides, PDF, notebooks and package in one zip that needs no network: runs/lamae-tutorial-offline.zip.
offline: book
	$(MAKE) slides pdf student
	rm -rf runs/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir runs/wheel .
	$(BIN)/python tools/offline.py --wheel runs/wheel/*.whl

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; name one: make PYTHON=python3.12 ...")'
	@echo "Making $(VENV): some minutes and, on Linux, about 5 GB (PyTorch with its CUDA libraries)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[book,test]"
	touch $@

clean:
	rm -rf $(VENV) book/_build runs
