"""What the fusepy driver decides, without a kernel."""
