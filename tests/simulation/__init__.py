"""An event-skipping simulator of one agent under init, keeper and bad luck. `python -m tests.simulation --help`."""
