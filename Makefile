# The two commands of the README: `make book` and `make test`. Both make .venv first, with the versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOTEBOOKS := $(wildcard book/notebooks/*.ipynb)

.PHONY: book test notebooks student colab clean

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

# Run the chapters in the smoke profile and store their text outputs, as git has them.
notebooks: $(VENV)/.installed
	$(BIN)/python tools/notebooks.py $(NOTEBOOKS)

# Notebooks for students, with stubs instead of the solutions: runs/student.
student: $(VENV)/.installed
	$(BIN)/python tools/student.py $(NOTEBOOKS)

# In Colab's own Python, which keeps its torch and numpy: install as a reader does, then run every chapter.
colab:
	$(PYTHON) -m pip install --quiet . papermill ipykernel
	mkdir -p runs/colab
	set -e; for notebook in $(NOTEBOOKS); do \
	  $(PYTHON) -m papermill --kernel python3 --cwd runs/colab $$notebook runs/colab/$$(basename $$notebook); done

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; name one: make PYTHON=python3.12 ...")'
	@echo "Making $(VENV): some minutes and, on Linux, about 5 GB (PyTorch with its CUDA libraries)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[book,test]"
	touch $@

clean:
	rm -rf $(VENV) book/_build runs
