"""The consuming half: messages in, verified objects out."""
