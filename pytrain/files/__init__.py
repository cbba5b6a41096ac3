"""What a run leaves on disk and reads again: models, states, records. No pickle is loaded."""
