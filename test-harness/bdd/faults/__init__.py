"""Real faults: signals, damaged files, taken ports, raw bytes."""
