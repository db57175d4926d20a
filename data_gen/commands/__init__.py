"""Make data sets, and look after them, from the command line; no other package imports this one."""
