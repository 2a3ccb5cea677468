Feature: Jobs
  An answer that outlives its connection, its client and rbee itself: nothing of it is lost, and
  nothing of it comes twice.

  Scenario: A job is made, followed and fetched
    Given rbee serves the model tiny
    When I ask for a job of 24 tokens
    Then the answer is 202
    And its followers get every event once, and the text of its result
    And a client that attaches after event 5 gets the rest

  Scenario: A client leaves, and the job goes on
    Given rbee serves the model tiny
    When I ask for a job of 24 tokens
    And a client follows it and leaves after 3 events
    Then the job is done within 20 s
    And its followers get every event once, and the text of its result

  Scenario: A job is cancelled
    Given rbee serves the model tiny
    When I ask for a job of 400 tokens
    And a client follows it and leaves after 3 events
    And I cancel the job
    Then the answer is 204
    And the slot is free within 2 s
    When I cancel the job
    Then the answer is 204
    And the job is cancelled, with what came of it
    And a request is served

  @own
  Scenario: A job that ends with its client
    Given the setting RBEE_REATTACH_S is 0.5
    And rbee serves the model tiny
    When I ask for a job of 400 tokens that ends with its client
    And a client follows it and leaves after 3 events
    Then the job is cancelled, with what came of it

  Scenario: Who holds another text is told so
    Given rbee serves the model tiny
    When I ask for a job of 8 tokens
    And the job is done within 20 s
    And I attach to it after the event 3-00000000
    Then the answer is 409 ATTACH_DIVERGED

  Scenario Outline: Jobs that are none
    Given rbee serves the model tiny
    When I post to /v1/jobs the body <body>
    Then the answer is <status> <code>

    Examples:
      | body                                                          | status | code            |
      | {}                                                            | 400    | INVALID_REQUEST |
      | {"request": {"model": "tiny"}, "endpoint": "/v1/embeddings"}  | 400    | INVALID_REQUEST |
      | {"request": {"model": "tiny"}, "on_disconnect": "perhaps"}    | 400    | INVALID_REQUEST |
      | {"request": {"model": "tinny", "messages": []}}               | 404    | MODEL_NOT_FOUND |

  Scenario: A job that is not there
    Given rbee serves the model tiny
    When I request GET /v1/jobs/job_00000000000000000000000000000000
    Then the answer is 404 JOB_NOT_FOUND
    When I run rbee jobs show job_00000000000000000000000000000000
    Then it exits with 1
    And it says JOB_NOT_FOUND
    And it says rbee jobs list

  Scenario: The same Idempotency-Key is the same answer
    Given rbee serves the model tiny
    When I ask twice for 8 tokens under the key mine
    Then both answers are the same, of the same job
    When I ask for 9 tokens under the key mine
    Then the answer is 409 IDEMPOTENCY_CONFLICT
    When I ask the route /v1/responses under the key mine
    Then the answer is 400 INVALID_REQUEST

  Scenario: Jobs on the command line
    Given rbee serves the model tiny
    When I ask for a job of 24 tokens
    And I run rbee jobs attach {job}
    Then it exits with 0
    And it printed the text of the job
    When I run rbee jobs show {job}
    Then it exits with 0
    And it printed the text of the job
    When I run rbee jobs list
    Then it says {job}
    When I run rbee jobs cancel {job}
    Then it exits with 0

  @own
  Scenario: rbee is killed in the middle of an infer
    Given rbee serves the model tiny
    When I run rbee infer -m tiny -p "Tell a long story." --max-tokens 60 --seed 1
    Then it exits with 0
    When the queen gets SIGKILL after 8 tokens of rbee infer -m tiny -p "Tell a long story." --max-tokens 60 --seed 1
    Then it exits with 0
    And it printed the same answer as before
    And the event log names JOBS_UNFINISHED

  @own
  Scenario: rbee is killed while a client is attached
    Given rbee serves the model tiny
    When I ask for a job of 60 tokens
    And a client follows it until the queen gets SIGKILL after 8 events
    And I run rbee up --detach
    And the client attaches again after its last event
    Then it has the whole answer of the job, every event once

  @own
  Scenario: rbee is killed, and the journal with it
    Given rbee serves the model tiny
    When I ask for a job of 400 tokens
    And a client follows it until the queen gets SIGKILL after 8 events
    And the journal of jobs is overwritten with noise
    And I run rbee up --detach
    Then it exits with 0
    And the event log names JOURNAL_DAMAGED
    When I ask for a job of 8 tokens
    Then the job is done within 20 s

  @own
  Scenario: The disk of the journal is full
    Given the state of rbee is on a small disk of its own
    And rbee serves the model tiny
    And a stream is running
    When that disk is filled
    And I ask for a job of 8 tokens
    Then the answer is 507 DISK_FULL
    And the stream ends with its finish
    When I run rbee infer -m tiny -p Hi --max-tokens 4
    Then it exits with 0
    When that disk is emptied
    And I ask for a job of 8 tokens
    Then the job is done within 20 s

  @own
  Scenario: More jobs than are kept
    Given the setting RBEE_JOBS is 1
    And rbee serves the model tiny
    When I ask for a job of 300 tokens
    And I ask for a job of 8 tokens too many
    Then the answer is 503 JOBS_FULL
    And a request is served
    When I cancel the job
    And I ask for a job of 8 tokens
    Then the job is done within 20 s

  @own
  Scenario: What came of an answer that could not be finished is kept
    Given the setting RBEE_DRAIN_S is 0.2
    And rbee serves the model tiny
    When rbee goes down after 8 tokens of rbee infer -m tiny -p "Tell a long story." --max-tokens 400
    Then it exits with 1
    And it says SHUTTING_DOWN
    And the part that it printed is kept, and its place told

  @own
  Scenario: A network that breaks in the middle of an answer, and comes back
    Given rbee serves the model tiny on the other side of a network
    When the network resets everything in an answer to the other side, and comes back
    Then the answer came whole
