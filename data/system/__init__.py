"""What every command needs of the system: errors, files, options, threads, words. It knows nothing of pictures."""
