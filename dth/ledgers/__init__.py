"""The durable record of runs, messages and uploads: the contract, and the adapters behind it."""
