"""The commands of surrogates; nothing imports them."""
