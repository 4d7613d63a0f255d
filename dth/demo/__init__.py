"""`dth demo`: the main job, on two real object stores that it starts on this machine. No account needed."""
