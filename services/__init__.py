"""One folder per container of the stack."""
