"""What can be found out about an agent's processes without its help. Looks only; never changes what it looks at."""
