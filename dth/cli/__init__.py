"""The command line: one file per verb, two faces (people, machines) on one stream of events."""
