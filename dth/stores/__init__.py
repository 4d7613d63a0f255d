"""Object stores: the contract, and the adapters behind it."""
