"""Ready agent definitions: data and a small adapter per kind of agent, one protocol."""
