"""What a transfer may ask of AWS at most: tests of real runs hold dth to it, and the page about costs reckons with it."""

SMALL_OBJECTS = 10_000
"""So many objects of 10 KiB take at most the requests to SQS and the write units of DynamoDB below, with one finder and one worker."""
SQS_REQUESTS = 400
WRITE_UNITS = 800

READS_OF_SMALL, WRITES_OF_SMALL = 1, 1
"""Requests of S3 for one object of 10 KiB."""
MEDIUM = 50 * 2**20
READS_OF_MEDIUM, WRITES_OF_MEDIUM = 8, 6
"""Bytes of one object that is sent in parts, and requests of S3 for it."""
CPU_SECONDS_OF_SMALL, CPU_SECONDS_OF_MEDIUM = 0.002, 0.5
"""CPU of finder and worker for one object, at most."""
