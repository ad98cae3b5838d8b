"""What is done to agents: orders to init, places, the queue of starts, planned acts, a new fleet taken up."""
