"""What a command measures while it runs: one table, one sink of events, two ways out (Prometheus, CloudWatch)."""
