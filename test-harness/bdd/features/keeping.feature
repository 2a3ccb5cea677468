Feature: What rbee keeps
  One command takes it to a file, one brings it back; who changed it is written down.

  @own
  Scenario: A disk is lost, and a backup brings back what was kept on it
    Given a package index that has the model tiny
    And the configuration
      """
      [limits]
      queue = 7
      """
    And rbee serves the model tiny of that index
    And a key phone
    And a place for backups
    When I run rbee backup {file}
    Then it exits with 0
    And the backup is for nobody else, and holds no secret of the key phone
    When rbee goes down and its disk is lost
    And I run rbee restore {file}
    Then it exits with 0
    And it says its file comes from
    When I run rbee up --detach
    Then the model tiny is served again without a word of mine
    And the model was fetched 2 times
    When I ask for 4 tokens with the key phone as x-api-key
    Then the answer is 200
    When I run rbee config show --json
    Then it says "limits.queue", "value": 7
    When I run rbee restore {file}
    Then it exits with 1
    And it says RESTORE_RUNNING

  @own
  Scenario Outline: What is no backup puts nothing back
    Given no rbee runs
    And a file that is <what>
    When I run rbee restore {file}
    Then it exits with 1
    And it says <code>
    And nothing was put into the home, or beside it

    Examples:
      | what                          | code           |
      | a backup cut in half          | BACKUP_INVALID |
      | a backup with a way out       | BACKUP_INVALID |
      | a picture                     | BACKUP_INVALID |
      | a backup of a newer rbee      | BACKUP_NEWER   |

  @own
  Scenario: A thousand models are put back, by an rbee that is killed halfway
    Given the model tiny is stored
    And a backup with a thousand models more
    And rbee is down
    When rbee restore is killed halfway
    And I run rbee up --detach
    Then it exits with 0
    When I run rbee models list --json
    Then it took less than 3 s
    And 1001 models are listed
    When I ask for 4 tokens
    Then the answer is 200

  @own
  Scenario: Who did what is written down, and a line that is changed shows
    Given rbee serves the model tiny
    And a key office made with --role admin --name office
    When rbee is run over the network with the key office: stop tiny
    Then it exits with 0
    When rbee is run over the network with the key office: models rm absent
    Then it exits with 1
    When I run rbee models rm tiny
    And the configuration says queue = nonsense
    And I run rbee down
    Then the log of acts says, in this order
      | who        | act           | of             | result          |
      | me         | models/pull   | tiny.gguf      | ok              |
      | me         | serve         | model=         | ok              |
      | me         | keys/create   | roles=admin    | ok              |
      | key office | stop          | model=tiny     | ok              |
      | key office | models/remove | name=absent    | MODEL_NOT_FOUND |
      | me         | models/remove | name=tiny      | ok              |
      | rbee.toml  | reload        |                | CONFIG_INVALID  |
      | me         | shutdown      |                | ok              |
    And the secret of the key office is nowhere in the log of acts
    When I run rbee audit --check
    Then it exits with 0
    When somebody changes a line of the log of acts
    And I run rbee audit --check
    Then it exits with 1
    And it says AUDIT_BROKEN
