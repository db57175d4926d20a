"""Let a dictionary that a preset or an override sets replace the dictionary that was there.

Hydra merges dictionaries, so that `data.families={salt: {}}` would add salt to the families of the preset. Here a
dictionary with keys of any name is a value like others:

    data.families={salt: {}}        the families are salt alone, in a preset as on the command line
    data.families.salt.weight=2     changes one key of an entry that is there
    +data.families.lens={}          adds an entry

A config with a fixed set of keys, which a dataclass describes, is not replaced: keys that are not named keep their
values.
"""

from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict


class ReplacedDictionary(DictConfig):
    """Hold a dictionary into which nothing is merged: what would be merged into it replaces it."""

    def _merge_with(self, *others: Any) -> None:
        for other in others:
            with open_dict(self):
                self._set_value({})
                super()._merge_with(other)
        for key in self if isinstance(self._content, dict) else ():
            replace_dictionaries(self._get_node(key))

    def __deepcopy__(self, memo: dict[int, Any]) -> "ReplacedDictionary":
        copied = super().__deepcopy__(memo)
        _convert(copied)
        assert isinstance(copied, ReplacedDictionary)
        return copied


def replace_dictionaries(node: Any) -> None:
    """Convert, in place, every dictionary with keys of any name in a config to a `ReplacedDictionary`.

    Args:
        node: Node of a config; other nodes than dictionaries stay as they are.
    """
    if not isinstance(node, DictConfig):
        return
    if OmegaConf.get_type(node) is dict:
        _convert(node)
    if isinstance(node._content, dict):
        for child in node._content.values():
            replace_dictionaries(child)


def _convert(node: DictConfig) -> None:
    object.__setattr__(node, "__class__", ReplacedDictionary)  # `DictConfig.__setattr__` would set a key
