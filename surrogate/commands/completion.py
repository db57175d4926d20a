"""Print completions for a shell: `source <(wave completion)`, or that line in ~/.bashrc (bash) or ~/.zshrc (zsh).

The Tab key then completes commands, presets (`experiment=`), keys and the values of those that have a few; any other
word is completed as the name of a file.
"""

import argparse
from importlib import import_module

from data_gen.common.config_docs import keys_of
from data_gen.common.errors import one_paragraph
from data_gen.common.hydra_app import CONFIG_NAMES, DRY_RUNS, configs_folder
from data_gen.common.hydra_help import DRY_RUN, Command
from data_gen.common.ranges import Choices
from surrogate.commands.wave import COMMANDS

SCRIPT = """\
[ -n "$ZSH_VERSION" ] && autoload -U +X bashcompinit && bashcompinit
_wave() {
  local line="${COMP_LINE:0:$COMP_POINT}" words=""
  local current="${line##* }"
  case "$line" in
%s
    *) words="%s" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  # Bash takes what follows the = for a word of its own.
  case "$current" in
    *=*) COMPREPLY=("${COMPREPLY[@]#"${current%%=*}="}") ;;
  esac
  case "${COMPREPLY[0]}" in
    *=) compopt -o nospace 2> /dev/null ;;
  esac
}
complete -o bashdefault -o default -F _wave wave
"""


def words_of(config_name: str) -> list[str]:
    """List what may follow a command that Hydra configures.

    Args:
        config_name: Root config of the command.

    Returns:
        Presets and values as `KEY=VALUE`, and `KEY=` where there are other values.
    """
    command = Command(configs_folder(), config_name)
    words = [f"{group}={choice}" for group in command.defaults for choice in command.choices(group)]
    for key in keys_of(command.compose()):
        values = ["true", "false"] if key.kind == "bool" else []
        if key.allowed is not None and isinstance(key.allowed.allowed, Choices) and not key.allowed.lengths:
            values = [str(value) for value in key.allowed.allowed.values]
        words += [f"{key.name}={value}" for value in values] or [f"{key.name}="]
    return words


def script() -> str:
    """Write the completions.

    Returns:
        A script for bash, and for zsh with its bashcompinit.
    """
    cases = []
    for name in sorted(COMMANDS, key=len, reverse=True):  # `diagnose invert` before `diagnose`
        module = COMMANDS[name][0]
        import_module(module)
        words = words_of(CONFIG_NAMES[module]) if module in CONFIG_NAMES else []
        words += [DRY_RUN] if module in DRY_RUNS else []
        cases.append(f"""    "wave {name} "*) words="{" ".join(words)}" ;;""")
    return SCRIPT % ("\n".join(cases), " ".join(dict.fromkeys(name.split()[0] for name in COMMANDS)))


@one_paragraph
def main() -> None:
    """Print the script."""
    parser = argparse.ArgumentParser(
        prog="wave completion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    print(script(), end="")
