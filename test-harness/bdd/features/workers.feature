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

  @own @serial
  Scenario: The hive is killed and back with the same workers
    Given rbee serves the model tiny
    And a stream is running
    When the hive gets SIGKILL
    Then the hive is back within 1 s with the same workers
    And the stream ends with its finish
    And the event log names HIVE_LOST
    When the worker gets SIGKILL
    Then another worker is ready within 20 s
    And the event log names WORKER_KILLED

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
  Scenario: The hive is killed, and the next one hangs before it says a word
    Given the setting RBEE_HIVE_START_S is 3
    And rbee serves the model tiny
    When the hive gets SIGKILL, and the next one SIGSTOP as it begins
    Then the hive is back within 10 s with the same workers
    And a request is served

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
  Scenario: One of two workers is ended by its id
    Given rbee serves the model tiny with --replicas 2
    And an answer of 120 tokens is running
    When I shut down the worker that is idle
    Then it exits with 0
    And every stream ended with its finish
    And the worker is the same
    And another worker is ready within 20 s
    And 2 workers are ready

  @own
  Scenario: An engine that says it lives, and makes no token
    Given the setting RBEE_LIMITS_STALL is 3s
    And rbee serves the model tiny with --replicas 2
    And an answer of 120 tokens is running
    When the thread of the engine that computes is stopped
    Then meanwhile it says that it is well
    And every stream ended with its finish
    And the event log names TOKEN_STALL
    And 2 workers are ready

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
  Scenario: Many models crash at once, again and again
    Given an engine that crashes at once
    And the setting RBEE_RESTART_FIRST_S is 0.05
    And the setting RBEE_RESTART_CAP_S is 0.05
    And the setting RBEE_RESTART_EVERY_S is 30
    And the model tiny is stored
    When 8 models that are to stay loaded are declared, and rbee is up
    Then it was started 28 times, and the next starts are 30 s apart

  @own
  Scenario: A worker that does not come to life
    Given the setting RBEE_WORKER_START_S is 2
    And the model tiny is stored
    And rbee is up
    When the worker gets SIGSTOP as it starts
    Then the event log names WORKER_START_TIMEOUT
    And nothing is left of its process group
    And a request is served

  @own
  Scenario: A load that makes no progress
    Given the setting RBEE_LOAD_STALL_S is 0.01
    And the model tiny is stored
    And rbee is up
    When I begin to serve the model tiny
    Then the event log names LOADING_TIMEOUT

  @own
  Scenario: A worker touches memory that is not its own
    Given rbee serves the model tiny
    When the worker gets SIGSEGV
    Then another worker is ready within 20 s
    And the event log names WORKER_CRASHED
    And the event log names SIGSEGV

  @own
  Scenario: An engine ends by itself with exit code 0
    Given an engine that ends at once, with exit code 0
    And the model tiny is stored
    When I run rbee serve tiny
    Then it exits with 1
    And it says WORKER_CRASHED
    And it says exit code 0

  @own
  Scenario: An engine hangs while it loads
    Given the setting RBEE_LOAD_STALL_S is 2
    And the model tiny is stored
    And rbee is up
    When the engine gets SIGSTOP while it loads
    Then the event log names LOADING_TIMEOUT
    And nothing is left of its process group
    And a request is served

  @own
  Scenario: A helper of the engine leaves the process group
    Given engines start a helper that leaves their process group
    And rbee serves the model tiny
    When the worker gets SIGKILL
    Then another worker is ready within 20 s
    And the helper is gone
    And the event log names RESOURCE_LEAK

  @own @serial
  Scenario: A worker is killed again and again, and nothing adds up
    Given the setting RBEE_RESTART_FIRST_S is 0.05
    And the setting RBEE_RESTART_EVERY_S is 0.05
    And rbee serves the model tiny
    When the worker is killed and comes back 100 times
    Then descriptors, processes, ports, files and memory are as they were

  @own @serial
  Scenario: The hive is killed again and again under load
    Given rbee serves the model tiny
    When the hive gets SIGKILL 20 times while answers run
    Then every stream ended with its finish
    And the worker is the same
    When I run rbee down
    Then nothing of rbee is left

  @own
  Scenario: Nobody comes for the workers
    Given the setting RBEE_ORPHAN_S is 2
    And rbee serves the model tiny
    When queen and hive get SIGKILL
    Then no process of rbee is left within 20 s

  @own
  Scenario: The hive is frozen
    Given the setting RBEE_HIVE_PING_S is 0.4
    And rbee serves the model tiny
    And the worker is noted
    And a stream is running
    When the hive gets SIGSTOP
    Then the hive is back within 10 s with the same workers
    And the stream ends with its finish
    And the worker is the same
    And the event log names HIVE_LOST

  @own
  Scenario: A worker is drained and replaced
    Given rbee serves the model tiny
    And a stream is running
    When I drain the worker
    Then it exits with 0
    And the stream ends with its finish
    And another worker is ready within 1 s

  @own
  Scenario: Five commands serve at once
    Given the model tiny is stored
    And rbee is up
    When 5 commands serve the model tiny at once
    Then all of them exit with 0
    And there is 1 worker

  @own
  Scenario: The first port of the range for workers is taken
    Given another program holds the first of two ports for workers
    And rbee serves the model tiny
    Then the worker listens on the second port

  @own
  Scenario: A model is stopped while it starts
    Given the model tiny is stored
    And rbee is up
    When I begin to serve the model tiny, and stop it
    Then it exits with 0
    And no worker is left within 5 s

  @own
  Scenario: A model is wanted again while it drains
    Given rbee serves the model tiny
    And a stream is running
    When I stop the model tiny and serve it again while it drains
    Then it exits with 0
    And the stream ends with its finish
    And a request is served

  @own
  Scenario Outline: A GPU fails, as the engine's source has it
    Given a stand-in for an engine on a GPU, which says: <line>
    And the model tiny is stored
    When I run rbee serve tiny
    Then it exits with <code>
    And it says <name>
    And it says <cause>

    Examples:
      | line                                                | code | name              | cause                  |
      | CUDA error: an illegal memory access was encountered | 1    | GPU_ERROR         | illegal memory access  |
      | ggml_vulkan: device lost on AMD Radeon RX 6700      | 1    | GPU_ERROR         | was lost               |
      | ROCm error: out of memory                           | 137  | GPU_OUT_OF_MEMORY | had no memory left     |

  @own
  Scenario: rbee is kept off the cores of others
    Given the model tiny is stored
    And rbee is down
    And rbee is up on one core of this machine
    When I ask for 4 tokens
    Then the answer is 200
    And every thread of rbee stays on that core
