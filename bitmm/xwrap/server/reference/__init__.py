"""openapi.yaml in two other forms: as JSON, and as a page for people. They are made when they are first asked for."""
