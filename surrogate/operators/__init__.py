"""Neural operators: arrays to arrays, no waves and no tasks."""
