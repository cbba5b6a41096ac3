"""One training method per file; `contract` says what a method is, `pytrain.methods.registry.METHODS` lists them."""
