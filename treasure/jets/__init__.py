"""The jet table: Aspen Open Jets HDF5, its writer and reader, and event-safe splits."""
