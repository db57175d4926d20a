"""Train a surrogate: `python train.py encoding=coarse run=runs/mine training.steps=2000`."""

from surrogate.commands.train import main

if __name__ == "__main__":
    main()
