"""What a transfer may ask of AWS at most: tests of real runs hold dth to it, and the page about costs reckons with it."""

SMALL_OBJECTS = 10_000
"""So many objects of 10 KiB take at most these requests to SQS and write units of DynamoDB, with one finder and one worker."""
SQS_REQUESTS = 400
WRITE_UNITS = 800
READS_OF_SMALL, WRITES_OF_SMALL = 1, 1
"""Requests to S3 for one object of 10 KiB."""
CPU_SECONDS_OF_SMALL, CPU_SECONDS_OF_START = 0.001, 20
"""CPU of finder and worker together for one object of 10 KiB, and that for the start of their processes on a busy machine."""

MEDIUM = 50 * 2**20
"""Bytes of an object that goes in parts; what one of them takes at most."""
READS_OF_MEDIUM, WRITES_OF_MEDIUM = 8, 7
SQS_OF_MEDIUM, UNITS_OF_MEDIUM = 4, 12
