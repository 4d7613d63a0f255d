"""What the templates are made of, one noun a file. Stacks compose these parts and add nothing of their own."""
