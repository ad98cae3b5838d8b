"""An agent's place to run: cgroup, user, directories, environment."""
