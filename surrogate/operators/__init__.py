"""Neural operators: map arrays to arrays, without knowing waves or tasks."""
