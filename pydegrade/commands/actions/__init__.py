"""What the commands do, as functions of values: everything that needs torch, NumPy or an image."""
