Feature: A clock that jumps
  What lasts is measured with a clock that nobody sets.

  @own
  Scenario Outline: The clock jumps in the middle of an answer
    Given a clock of its own
    And rbee serves the model tiny
    And a stream is running
    When that clock jumps by <hours> h
    Then the stream ends with its finish
    And a request is served
    And its worker is the one from before the jump
    When I run rbee infer -m tiny -p "Say hello." --max-tokens 4
    Then it exits with 0

    Examples:
      | hours |
      | 1     |
      | -1    |
