"""Versioned state: snapshots of what an agent keeps on disk, and the way back to any of them."""
