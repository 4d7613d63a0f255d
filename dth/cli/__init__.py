"""The command line: one file a verb, and outputs for people and machines over one stream of events."""
