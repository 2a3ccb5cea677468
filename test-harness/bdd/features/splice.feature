Feature: Answers that outlive their workers
  A worker dies or hangs in the middle of an answer. Another one takes the answer up: what the client
  has is replayed in silence, or gone on from, and the answer says so.

  @pair
  Scenario Outline: A worker is lost early in an answer
    Given the uninterrupted answer to a story of 32 tokens
    When the same is asked, and its worker gets <signal> at token <token>
    Then the client has the uninterrupted answer with its usage
    And the answer was replayed exactly
    And the client waited at most <gap> s more than the replay took

    Examples:
      | signal  | token | gap |
      | SIGKILL | 1     | 1   |
      | SIGABRT | 1     | 1   |
      | SIGKILL | 20    | 1   |
      | SIGABRT | 20    | 1   |
      | SIGSTOP | 20    | 6   |

  @pair
  Scenario Outline: A worker is lost late in an answer
    Given the uninterrupted answer to a story of 240 tokens
    When the same is asked, and its worker gets <signal> at token 200
    Then the client has all tokens, and the answer was continued

    Examples:
      | signal  |
      | SIGKILL |
      | SIGABRT |
      | SIGSTOP |

  @pair
  Scenario: Exactness is worth any wait to who asks for it
    Given the uninterrupted answer to a story of 240 tokens
    When the same is asked exactly, and its worker gets SIGKILL at token 200
    Then the client has the uninterrupted answer with its usage
    And the answer was replayed exactly

  @pair
  Scenario Outline: What is formed is replayed
    Given the uninterrupted answer to <what>
    When the same is asked, and its worker gets SIGKILL at <share> % of it
    Then the client has the uninterrupted answer with its usage
    And the answer was replayed exactly

    Examples:
      | what        | share |
      | a JSON form | 25    |
      | a JSON form | 50    |
      | a JSON form | 75    |
      | two choices | 25    |
      | two choices | 50    |
      | two choices | 75    |
      | a drawn lot | 50    |
      | a raw text  | 50    |

  @pair
  Scenario: An answer in one piece is repaired too
    Given the uninterrupted answer to a story of 32 tokens
    When the same is asked in one piece, and its worker gets SIGKILL
    Then the one piece is the uninterrupted answer, declared as spliced

  @pair
  Scenario: The third turn of a warm chat
    Given a chat of two turns with a long beginning
    When the third turn is asked, and its worker gets SIGKILL at token 8
    Then the client has all tokens, and the answer was continued

  @pair
  Scenario: Both workers are killed, one after the other
    Given the uninterrupted answer to a story of 120 tokens
    When the same is asked, and its workers get SIGKILL at the tokens 10 and 60
    Then the client has the uninterrupted answer with its usage
    And the event log tells of 2 splices of this answer, and of no loss

  @pair
  Scenario: The third death is the last
    Given the uninterrupted answer to a story of 120 tokens
    When the same is asked, and its workers get SIGKILL at the tokens 10, 40 and 80
    Then the answer ends in ATTEMPTS_EXHAUSTED after 3 attempts, with what there was
    And a request is served

  @own
  Scenario: A request that crashes two workers gets no third
    Given rbee serves the model tiny with --replicas 2
    And the uninterrupted answer to a story of 120 tokens
    When the same is asked, and its workers get SIGABRT at the tokens 10 and 40
    Then the answer ends in REQUEST_QUARANTINED after 2 attempts, with what there was
    And a request is served

  @own
  Scenario: The only worker is killed, and the answer waits for the next
    Given rbee serves the model tiny
    And the uninterrupted answer to a story of 32 tokens
    When the same is asked, and its worker gets SIGKILL at token 10
    Then the client has the uninterrupted answer with its usage
    And the answer was replayed exactly

  @pair
  Scenario: What was repaired is counted
    When I request GET /metrics
    Then the answer is 200
    And it counts replays and continuations
