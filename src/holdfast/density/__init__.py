"""How much memory each agent may use now, who starts, who sleeps and who has to go when the node is too small. Pure."""
