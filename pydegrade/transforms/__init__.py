"""Degradations as transforms of other libraries, which are imported only here: torchvision v2, albumentations."""
