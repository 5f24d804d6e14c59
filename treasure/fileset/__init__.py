"""Where the events are: files on disks, on XRootD servers or simulated, with their identity."""
