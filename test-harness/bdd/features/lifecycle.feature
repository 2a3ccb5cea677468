Feature: Up, down, and up again
  Starting and stopping are idempotent, and nothing outlives a stop.

  @own
  Scenario: A second up changes nothing
    Given rbee is up
    When I run rbee up --detach
    Then it exits with 0
    And it says already running
    When I run rbee down
    Then it exits with 0
    And nothing of rbee is left

  @own
  Scenario: The port is taken by another program
    Given another program holds a port
    When I run rbee up --detach --port {port}
    Then it exits with 1
    And it says PORT_TAKEN
    And it says {port}
    And nothing of rbee is left

  @own
  Scenario: An address that others could reach is refused without keys
    When I run rbee up --detach --host 0.0.0.0
    Then it exits with 2
    And it says BIND_REFUSED
    And nothing of rbee is left

  @own
  Scenario: SIGTERM of rbee while an answer runs
    Given the setting RBEE_DRAIN_S is 2
    And rbee serves the model tiny
    And a stream is running
    When the queen gets SIGTERM
    Then the stream ends with its finish or with SHUTTING_DOWN
    And nothing of rbee is left

  @own
  Scenario: rbee itself hangs, and down ends it
    Given the setting RBEE_TERM_S is 0.5
    And rbee serves the model tiny
    When the queen gets SIGSTOP
    And I run rbee down
    Then it exits with 0
    And nothing of rbee is left

  @own
  Scenario: Everything is killed at once, and what was wished comes back
    Given rbee serves the model tiny
    When everything of rbee is killed at once
    And I run rbee up --detach
    Then it exits with 0
    And the model tiny is served again without a word of mine
    And rbee doctor finds nothing left over

  @own
  Scenario: A newer keeper meets an older rbee
    Given rbee is up
    And an rbee of version 9.9.9 is installed elsewhere
    When the other rbee runs ps
    Then it exits with 1
    And it says VERSION_MISMATCH
    And it says 9.9.9
    And it shows no traceback

  @own
  Scenario: A key that does not exist in the configuration
    Given the configuration
      """
      [limits]
      queu = 5
      """
    When I run rbee up --detach
    Then it exits with 2
    And it says CONFIG_INVALID
    And it says queue
    And nothing of rbee is left

  @own
  Scenario: What rbee keeps of wishes is damaged while it is down
    Given rbee serves the model tiny
    When I run rbee down
    And the disk keeps only half of state/wishes.json
    And I run rbee up --detach
    Then it exits with 0
    And the event log names WISHES_DAMAGED
    And what is left of it stands in state/wishes.json.damaged

  @own
  Scenario: The keys are damaged while it is down
    When I run rbee keys create
    And the disk keeps only half of state/keys.json
    And I run rbee up --detach
    Then it exits with 2
    And it says KEYS_DAMAGED
    And nothing of rbee is left

  @own
  Scenario: Commands without a running rbee
    When I run rbee ps
    Then it exits with 255
    And it says NOT_RUNNING
    When I run rbee frobnicate
    Then it exits with 2
    And it says USAGE
    When I run rbee explain NO_SUCH
    Then it exits with 2
    And it says CODE_UNKNOWN
    When I run rbee down
    Then it exits with 0

  @own
  Scenario: An address that is none
    When I run rbee up --detach --host 127.0.0.300
    Then it exits with 1
    And it says START_FAILED
    And it shows no traceback

  @own
  Scenario: The home is on a read-only disk
    Given the home of rbee is on a disk that is mounted read-only
    When I run rbee up --detach
    Then it exits with 1
    And it says DISK_READ_ONLY
    And it shows no traceback

  @own
  Scenario: Up, infer and down, again and again
    Given the model tiny is stored
    When I run up, infer and down 3 times
    Then nothing of rbee is left
    And rbee doctor finds nothing left over

  @own
  Scenario Outline: One process is killed, then up and down
    Given rbee serves the model tiny
    When the <who> gets SIGKILL
    And I run rbee up --detach
    Then it exits with 0
    When I run rbee down
    Then it exits with 0
    And nothing of rbee is left

    Examples:
      | who    |
      | queen  |
      | hive   |
      | worker |

  @own
  Scenario: The home may not be written to
    Given the home of rbee is a folder that nobody may change
    When I run rbee up --detach
    Then it exits with 1
    And it says DISK_PERMISSION
    And it shows no traceback

  @own
  Scenario: A newer rbee takes over from an older one
    Given rbee serves the model tiny
    And the worker is noted
    And an rbee of version 9.9.9 is installed elsewhere
    When the other rbee is used from now on
    And I run rbee up --detach
    Then it exits with 0
    And the worker is the same
    And a request is served

  @own
  Scenario: The configuration is changed while models run
    Given the models tiny, two are stored, which differ
    And the configuration
      """
      [models.tiny]
      keep_alive = "always"
      ctx = 256

      [models.two]
      keep_alive = "always"
      ctx = 256
      """
    Then tiny runs with 256 tokens of context within 20 s
    And two runs with 256 tokens of context within 20 s
    When the configuration becomes
      """
      [models.tiny]
      keep_alive = "always"
      ctx = 256

      [models.two]
      keep_alive = "always"
      ctx = 384
      """
    Then two runs with 384 tokens of context within 20 s
    And tiny has kept its process
    When the configuration becomes
      """
      [models.tiny]
      keep_alive = "always"
      ctxx = 256
      """
    Then the event log names CONFIG_INVALID
    And tiny has kept its process

  @own @serial
  Scenario: The hive is told to end while three workers answer
    Given rbee serves the model tiny with --replicas 3
    And 3 short streams are running
    When the hive gets SIGTERM
    Then every stream ended with its finish
    And a request is served

  @own
  Scenario: A second signal acts at once
    Given rbee serves the model tiny
    And a stream is running
    When the queen gets SIGTERM twice
    Then the stream is over within 3 s
    And the stream ends with its finish or with SHUTTING_DOWN
    And nothing of rbee is left

  @own
  Scenario: What a crash left is found and reaped
    Given engines start a helper that leaves their process group
    And rbee serves the model tiny
    When everything of rbee is killed at once
    And I run rbee doctor
    Then it exits with 1
    And it says leftover
    When I run rbee doctor --fix
    Then it exits with 0
    And the helpers are gone
    And rbee doctor finds nothing left over

  @own
  Scenario: A flag goes before the environment, that before the file, and that before the default
    Given another program holds a port
    And rbee.toml has it listen on that port, with a queue of 7
    And the environment does not name a port
    When I run rbee up --detach
    Then it exits with 1
    And it says PORT_TAKEN
    And it says {port}
    When the environment names port 0
    And I run rbee up --detach
    Then it exits with 0
    When I run rbee config show --json
    Then it says "value": 7, "origin": "rbee.toml"
    And it says "value": 512, "origin": "RBEE_DEFAULTS_CTX"
    And it says "key": "limits.stall", "value": "1m", "origin": "default"
    When I run rbee down
    And the environment names that port
    And I run rbee up --detach
    Then it exits with 1
    And it says PORT_TAKEN
    When I run rbee up --detach --port 0
    Then it exits with 0

  @own
  Scenario: Somebody follows the log
    Given the setting RBEE_MEMORY_LOOK_S is 0.5
    And the setting RBEE_LOG_BYTES is 8KiB
    And rbee is up
    When I follow its log
    And the configuration says queue = 9
    Then what rbee says of it comes to the follower within 2 s
    When the log is turned over
    And the configuration says queue = nonsense
    Then what rbee says of it comes to the follower within 2 s
    When I press Ctrl-C in the log
    Then it ends with 130, and showed nothing twice
