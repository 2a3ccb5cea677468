Feature: A model proves itself before it serves
  An engine loads damaged files and answers rubbish with 200: eight tokens tell.

  @own
  Scenario: Garbage that nobody vouches for is not served
    Given a model file garbage.gguf that is full of flipped bits
    When I run rbee serve {file} --wait
    Then it exits with 1
    And it says MODEL_SELFTEST_FAILED
    And it says --trust
    And it shows no traceback
    And the event log names MODEL_SELFTEST_FAILED

  @own
  Scenario: NaN is not served either
    Given a model file nan.gguf that is computing NaN
    When I run rbee infer -m {file} -p Hi
    Then it exits with 1
    And it says MODEL_SELFTEST_FAILED

  @own
  Scenario: A person may trust what nobody vouches for
    Given a model file garbage.gguf that is full of flipped bits
    When I run rbee serve {file} --trust --wait
    Then it exits with 0
    And the event log names SELFTEST_DEGENERATE
    When everything of rbee is killed at once
    And I run rbee up --detach
    Then a worker of garbage is ready, still trusted

  @own
  Scenario: Bytes changed behind rbee's back are found by what they compute
    Given the model tiny was served and stopped
    When the stored file rots and looks as if it had not
    And I ask for 4 tokens
    Then the answer is 422 MODEL_CORRUPTED
    And its message says sha256

  @own
  Scenario: Another answer from the same bytes becomes the golden one
    Given the model tiny was served and stopped
    When the golden answers tell of other tokens
    And I ask for 4 tokens
    Then the answer is 200
    And the event log names SELFTEST_CHANGED

  @own
  Scenario: Golden answers that cannot be read are taken anew
    Given the model tiny was served and stopped
    When the golden answers are noise
    And I ask for 4 tokens
    Then the answer is 200
    And the golden answers can be read again
