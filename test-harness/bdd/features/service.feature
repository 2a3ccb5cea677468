Feature: rbee as a service
  What is served comes back after a reboot without a word, where systemd looks after rbee.

  @own
  Scenario: The machine starts again, and the service brings back what was served
    Given rbee serves the model tiny
    When everything of rbee is killed at once
    And the machine starts what the unit of rbee names
    Then the model tiny is served again without a word of mine
    When the queen gets SIGKILL
    Then what the unit names has ended, and is to be started again
    When the machine starts what the unit of rbee names
    Then the model tiny is served again without a word of mine
    And the worker is the one from before
    When the machine ends it as systemd does
    Then it ended with 0 and nothing of rbee is left

  @own
  Scenario: A machine whose systemd looks after no users is told so
    Given no rbee runs
    And systemd cannot be reached
    When I run rbee service install
    Then it exits with 1
    And it says SERVICE_UNAVAILABLE
    When I run rbee service show
    Then it exits with 0
    And it says ExecStart=
