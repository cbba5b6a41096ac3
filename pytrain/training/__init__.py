"""The loop and its parts: steps, phases, schedules, precision, processes and threads, logs."""
