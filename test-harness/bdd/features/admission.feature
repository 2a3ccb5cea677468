Feature: More work than there is room for
  Each request is served, or refused at once with the time at which it will be served. None hangs.

  @own @serial
  Scenario: Two hundred clients at once on 8 slots and a queue of 100
    Given the setting RBEE_LIMITS_QUEUE_WAIT_S is 300
    And rbee serves the model tiny with --replicas 2 --parallel 4
    And 4 requests were served
    When 200 clients ask at once for 2 tokens, and come back when they are told
    Then 108 of them were served and 92 were refused within 1 s
    And of those who came back at least 90 % were served
    And nobody waits any more

  @own
  Scenario: Two at once for the last of four slots, and no queue
    Given the setting RBEE_LIMITS_QUEUE is 0
    And rbee serves the model tiny with --parallel 4
    And 3 streams are running
    When 2 clients ask at once for 2 tokens
    Then 1 of them was served and 1 was refused within 1 s

  @own
  Scenario: Two at once for the last of four slots
    Given rbee serves the model tiny with --parallel 4
    And 3 streams are running
    When 2 clients ask at once for 2 tokens
    Then 2 of them were served and 0 were refused within 1 s

  @own
  Scenario: A wait for a slot has an end
    Given the setting RBEE_LIMITS_QUEUE_WAIT_S is 1
    And rbee serves the model tiny with --parallel 1
    And 1 streams are running
    When I ask for 2 tokens
    Then the answer is 504 QUEUE_TIMEOUT

  @own
  Scenario: One worker that hangs does not hold up the others
    Given rbee serves the model tiny with --replicas 2 --parallel 2
    And a request was served
    When one of the workers gets SIGSTOP
    And 8 clients ask at once for 2 tokens
    Then 8 of them were served and 0 were refused within 1 s
    And at least 6 of them were answered within 4 s
    And the event log names WORKER_HUNG

  @own
  Scenario: A model that cannot be loaded costs one load, however often it is asked for
    Given a model file strange.gguf that is of an unknown architecture
    When I run rbee models pull {file}
    And 100 clients ask the model strange at once for 2 tokens
    Then each of them got 422 MODEL_UNSUPPORTED
    And one worker was started for them

  @own
  Scenario: A deadline that the line cannot meet
    Given rbee serves the model tiny with --parallel 1
    And a request was served
    And 1 streams are running
    And 12 clients wait for a slot
    When I post to /v1/chat/completions the body {"model": "tiny", "timeout_s": 0.2, "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}
    Then the answer is 504 DEADLINE_UNREACHABLE
    And the place and the wait of those in line are told

  @own
  Scenario: A priority that there is not
    Given rbee is up
    And the model tiny is stored
    When I ask with the priority urgent
    Then the answer is 400 INVALID_REQUEST

  @own
  Scenario: Chats come back to the worker that has read them
    Given rbee serves the model tiny with --replicas 2 --parallel 2
    When 6 chats of 3 turns go on, 2 at once
    Then at least 90 % of their later turns found what was read before
    And both workers took part

  @own
  Scenario: The flood of one key does not hold up another
    Given the setting RBEE_LIMITS_QUEUE is 10
    And rbee serves the model tiny with --parallel 1
    And a key greedy
    And a key patient
    When the key greedy asks 40 times at once and the key patient once after that, for 16 tokens
    Then the key patient was served before at least 7 of those before it
    And 11 of the 41 were served and the others refused
