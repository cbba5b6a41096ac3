"""What lies on disk: images of every format, folders and LMDBs of them, and the pairs that a run writes."""
