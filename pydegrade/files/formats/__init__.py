"""Image formats: one module each, which says what a file holds from its header and decodes it."""
