"""What is measured. A package of its own, because some dependency installs another one of this name."""
