"""What one installation carries: what grows when there is more of something, and by how much."""
