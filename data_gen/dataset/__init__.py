"""Generate, verify, describe, import and export data sets on disk."""
