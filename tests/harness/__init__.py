"""What the end-to-end tests share: the router as a process, Forward peers, AWS in small, and readers of objects."""
