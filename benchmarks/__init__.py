"""Compare the solver with its peers: `python -m benchmarks.solver`. README.md describes the measurements."""
