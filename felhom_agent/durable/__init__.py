"""What outlives a crash: the disk's system calls, checksummed lines, files replaced as a whole."""
