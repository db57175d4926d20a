"""Train a surrogate: `python train.py encoding=coarse run=runs/mine training.steps=2000`."""

from data_gen.common.errors import run_command

if __name__ == "__main__":
    run_command("surrogate.commands.train")
