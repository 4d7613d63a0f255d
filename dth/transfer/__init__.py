"""One object from its source to its destination, and the proof that it arrived."""
