"""What the keeper does about versioned state: when snapshots are taken, restores carried out, copies kept."""
