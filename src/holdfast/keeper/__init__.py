"""The control loop of the node: decides, remembers, answers the API."""
