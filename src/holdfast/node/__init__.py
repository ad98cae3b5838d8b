"""What this machine is and has: cgroups, pressure, disks, users."""
