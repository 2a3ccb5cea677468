"""One file per family of commands; each has `run(command, arguments) -> exit code`."""
