Feature: Real servers of somebody else
  A llama-server and another rbee, each with the real model, as workers of the pool: what a double
  cannot do wrong is done wrong here.

  @own
  Scenario: A real llama-server and another rbee stand in for one another
    Given the setting RBEE_HEALTH_EVERY_S is 0.3
    And the setting RBEE_ATTACHED_TOKEN_S is 1
    And rbee is up
    And a real llama-server is attached
    And another rbee that asks for a key is attached
    When the llama-server gets SIGKILL in the middle of an answer from it
    Then the other rbee went on with the answer, and that is said
    And rbee ps shows the llama-server as FAILED
    When the llama-server is started anew
    Then rbee ps shows the llama-server as READY
    When the llama-server gets SIGSTOP in the middle of an answer from it
    Then the other rbee went on with the answer, and that is said
    And nobody waited longer than 5 s for a token
    When the other rbee is killed in the middle of an answer from it
    Then the llama-server went on with the answer, and that is said

  # The streams begin well: what LiteLLM and others count as served breaks off later.
  @own
  Scenario: A real server whose answers break off is cut off, and tried by one request
    Given the setting RBEE_BREAKER_OPEN_S is 3
    And the setting RBEE_RETRIES_PER_MINUTE is 1000
    And rbee is up
    And a real llama-server is attached behind 2 proxies
    When the first proxy cuts each answer after 3 events
    And I ask, one after the other, until the first is cut off
    Then all answers were whole, though 5 attempts broke off there
    When the first proxy holds what it is told, and 8 clients ask once it may be tried
    Then 7 are answered by the second, and the first has the one
    When the first proxy lets it go
    Then all answers were whole, and the first gets work again
    And the event log names CIRCUIT_OPEN

  @own
  Scenario: A real server that has become slow gets less than its peers
    Given rbee is up
    And a real llama-server is attached behind 4 proxies
    When the first proxy lets each event wait for 0.3 s
    And I ask, four at a time, until the first is held back
    Then the event log names WORKER_SLOW
    When 12 clients ask for a short answer at once
    Then all answers were whole, and at most 2 of them came from the first
