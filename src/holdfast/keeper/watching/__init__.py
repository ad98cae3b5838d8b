"""How agents and the node are watched: probes, beats, files, logs, pushes, readings; and what triage is told."""
