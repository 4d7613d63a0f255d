"""The hub: an API and a scheduler that run, remember and explain transfers. It stands above `dth.app`; nothing imports it."""
