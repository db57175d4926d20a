"""Invert data for a velocity model: `python invert.py inversion=gathers forward=physics out=runs/fwi`."""

from surrogate.commands.invert import main

if __name__ == "__main__":
    main()
