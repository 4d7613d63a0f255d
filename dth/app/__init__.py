"""The composition root: settings become stores, queue, ledger and processes here, and nowhere else. One file a verb."""
