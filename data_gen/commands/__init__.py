"""The commands of data generation; nothing imports them."""
