"""One training method per file; `contract` says what a method is, `pytrain.registry.METHODS` lists them."""
