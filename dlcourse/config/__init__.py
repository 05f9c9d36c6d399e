"""From the words of a command to a configuration that may run. Imports neither torch nor lightning."""
