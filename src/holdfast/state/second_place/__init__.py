"""The same objects in a bucket or on another disk, and an agent rebuilt from them alone."""
