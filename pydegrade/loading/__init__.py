"""Pairs inside a training program: sample numbers for every process, a module for batches, datasets."""
