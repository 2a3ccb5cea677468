"""The help that needs no parser: printed before anything else is imported."""

COMMANDS = {
    "infer": "infer",
    "chat": "chat",
    "up": "running",
    "down": "running",
    "serve": "serving",
    "stop": "serving",
    "ps": "machine",
    "jobs": "jobs",
    "models": "models",
    "workers": "workers",
    "engine": "engine",
    "logs": "logs",
    "events": "events",
    "audit": "audit",
    "explain": "explain",
    "doctor": "doctor",
    "keys": "keys",
    "config": "config",
    "backup": "backup",
    "restore": "backup",
    "service": "service",
    "version": "version",
}
"""Each command and the file in `keeper/commands` that runs it."""

HELP = """\
rbee runs large language models on this machine and keeps them running.

  rbee infer -m smollm2:135m -p "Why is the sky blue?"

Ask
  infer     answer one prompt; starts rbee and fetches the model if needed
  chat      talk with a model
  jobs      answers that outlive their connection: list, show, attach, cancel

Run
  up        start rbee                       down      stop it and all it started
  serve     keep a model loaded              stop      unload a model or a worker
  ps        what runs, where, how busy

Look after
  models    list, pull, show, rm, verify,    workers   list, logs, drain, shutdown,
            import, prune, pin, unpin                    attach, detach
  engine    list, use                        config    show, check
  logs      what rbee wrote                  events    faults, and what was done about them
  doctor    find what is wrong here          explain   what an error code means
  keys      create, list, revoke             audit     who did what to this rbee
  backup    what rbee keeps, to one file     restore   and back from it
  service   have systemd start it at login   version

Every command: --help, --json, --url http://HOST:PORT (or RBEE_URL; RBEE_KEY for a key).
State lives in RBEE_HOME. Exit codes: 0 ok, 1 error, 2 usage, 124 timeout, 130 interrupted,
137 worker killed or out of memory, 255 rbee cannot be reached.
"""
