"""What the commands share: flags, checks, exit codes, progress, publishing."""
