"""The `io-error` experiment: a call, or the disk, fails; then the system goes on, is killed, or is opened again."""
