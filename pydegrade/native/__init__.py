"""The compiled core and what touches it: addresses, CUDA programs, packed batches, random words."""
