"""The training step and what feeds it; knows no folder of a run."""
