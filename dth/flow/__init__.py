"""How much at once: requests in flight, memory for bodies, and when to give up."""
