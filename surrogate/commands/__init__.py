"""Run the verbs of `surrogate.runs` from the command line; no other package imports this one."""
