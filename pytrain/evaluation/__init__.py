"""A trained network at work: on whole images, on test sets with scores, on one image alone, exported."""
