"""Image jobs: their settings become registries, repositories and runs here."""
