"""Our solver against its peers: `python -m benchmarks.solver`. What is measured, and how, is in README.md."""
