Feature: Workers that die, and come back
  A death is seen, named, and mended; who asks meanwhile is served or told.

  @own
  Scenario: A worker is killed while idle
    Given rbee serves the model tiny
    When the worker gets SIGKILL
    Then another worker is ready within 20 s
    And a request is served
    And the event log names WORKER_KILLED

  @own
  Scenario: A worker is killed in the middle of an answer, and retries are used up
    Given the setting RBEE_RETRIES_PER_MINUTE is 0
    And rbee serves the model tiny
    And a stream is running
    When the worker gets SIGKILL
    Then the stream ends with the error WORKER_KILLED or WORKER_LOST, and then [DONE]
    And a request is served

  @own
  Scenario: A worker aborts in the middle of an answer, and retries are used up
    Given the setting RBEE_RETRIES_PER_MINUTE is 0
    And rbee serves the model tiny
    And a stream is running
    When the worker gets SIGABRT
    Then the stream ends with the error WORKER_CRASHED or WORKER_LOST, and then [DONE]
    And the event log names WORKER_CRASHED

  @own
  Scenario: A worker hangs in the middle of an answer, and retries are used up
    Given the setting RBEE_RETRIES_PER_MINUTE is 0
    And the setting RBEE_SILENCE_S is 1
    And rbee serves the model tiny
    And a stream is running
    When the worker gets SIGSTOP
    Then the stream ends with the error WORKER_HUNG, and then [DONE]
    And another worker is ready within 20 s
    And the event log names WORKER_HUNG

  @own
  Scenario: The hive is killed and back with the same workers
    Given rbee serves the model tiny
    And a stream is running
    When the hive gets SIGKILL
    Then the hive is back within 1 s with the same workers
    And the stream ends with its finish
    And the event log names HIVE_LOST

  @own
  Scenario: The hive hangs, and is back with the same workers
    Given the setting RBEE_HIVE_PING_S is 0.2
    And rbee serves the model tiny
    And a stream is running
    When the hive gets SIGSTOP
    Then the hive is back within 5 s with the same workers
    And the stream ends with its finish
    And the event log names HIVE_LOST

  @own
  Scenario: The line to the hive is cut, and its socket is taken away
    Given rbee serves the model tiny
    When the line to the hive is cut
    Then the model is served meanwhile, and the line is back within 5 s with the same workers
    When the socket of that line is removed, and the hive gets SIGKILL
    Then the model is served meanwhile, and the line is back within 5 s with the same workers

  @own
  Scenario: An idle model is unloaded, and loaded again when asked for
    Given the setting RBEE_DEFAULTS_KEEP_ALIVE is 1s
    And the model tiny is stored
    And rbee is up
    When I ask for 4 tokens
    Then the answer is 200
    And no worker is left within 20 s
    When I ask for 4 tokens
    Then the answer is 200

  @own
  Scenario: Two replicas
    Given rbee serves the model tiny with --replicas 2
    Then 2 workers are ready
    When I run rbee stop tiny
    Then it exits with 0
    And no worker is left within 1 s

  @own
  Scenario: A worker that is not there
    Given rbee is up
    When I run rbee workers shutdown w99
    Then it exits with 1
    And it says WORKER_NOT_FOUND

  @own
  Scenario: A worker that crashes again and again is given up
    Given the setting RBEE_RESTART_FIRST_S is 0.05
    And the setting RBEE_RESTART_CAP_S is 0.05
    And rbee serves the model tiny
    When workers get SIGABRT until rbee gives up, at most 7 times
    And I ask for 4 tokens
    Then the answer is 503 WORKER_QUARANTINED
    And its message says crashed

  @own
  Scenario: A worker that does not come to life
    Given the setting RBEE_WORKER_START_S is 0.01
    And the model tiny is stored
    And rbee is up
    When I begin to serve the model tiny
    Then the event log names WORKER_START_TIMEOUT

  @own
  Scenario: A load that makes no progress
    Given the setting RBEE_LOAD_STALL_S is 0.01
    And the model tiny is stored
    And rbee is up
    When I begin to serve the model tiny
    Then the event log names LOADING_TIMEOUT
