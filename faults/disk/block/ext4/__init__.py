"""What ext4 makes of a crash image, computed from its bytes instead of mounting it."""
