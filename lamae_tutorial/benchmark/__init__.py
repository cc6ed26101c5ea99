"""The papers' tables and figures: running the experiments, keeping the records, writing the report."""
