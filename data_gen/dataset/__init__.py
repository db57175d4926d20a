"""Generate, check, describe, import and export data sets on disk."""
