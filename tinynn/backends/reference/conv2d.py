"""Conv2D."""
