"""Work queues: the contract, and the adapters behind it."""
