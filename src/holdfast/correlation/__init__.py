"""One cause, one incident: whether agents fail for a reason of the node that healing them would not remove."""
