"""What is published: the release directory, its metadata, its readiness and its destinations."""
