"""Invert data for a velocity model: `python invert.py inversion=gathers forward=physics out=runs/fwi`."""

from data_gen.common.errors import run_command

if __name__ == "__main__":
    run_command("surrogate.commands.invert")
