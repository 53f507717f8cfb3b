"""What each call does: one module for each noun, one short function for each route."""
