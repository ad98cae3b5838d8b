"""The keeper's side of the RAM semaphore: readings in, acts out; starts, sleepers and replicas with it."""
