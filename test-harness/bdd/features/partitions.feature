Feature: Broken networks
  rbee on one machine, its user on another, and a network that does what networks do.

  @own
  Scenario: A network that is cut, and comes back
    Given rbee serves the model tiny on the other side of a network
    When the other side runs rbee ps
    Then it exits with 0
    When the network drops everything
    And the other side runs rbee ps
    Then it exits with 255
    And it says NETWORK_UNREACHABLE
    When the other side runs rbee ps
    Then it exits with 255
    And it says NETWORK_PAUSED
    And rbee goes on serving at home
    When the network is whole again
    Then the other side gets through again by itself
    When the network is cut and comes back while the other side dials
    Then it exits with 0

  @own
  Scenario: A link that is down for a moment costs a moment
    Given rbee serves the model tiny on the other side of a network
    When the link is down for 1.5 s in the middle of an answer
    Then the answer came whole

  @own
  Scenario: A network that loses much is slow, and loses no answer
    Given rbee serves the model tiny on the other side of a network
    When the network loses 30 of a hundred packets
    And the other side runs rbee infer -m tiny -p Hi --max-tokens 24 --json
    Then the answer came whole

  # The kernel needs about 13 s to be sure that a silent peer is gone.
  @own
  Scenario Outline: A network that breaks in the middle of an answer hangs nobody
    Given rbee serves the model tiny on the other side of a network
    When the network <deed> in the middle of an answer to the other side
    Then it exits with 255
    And it says CONNECTION_LOST
    And what had come of the answer is kept on the other side
    And rbee goes on serving at home

    Examples:
      | deed                  |
      | drops everything      |
      | resets everything     |
      | loses what rbee sends |
