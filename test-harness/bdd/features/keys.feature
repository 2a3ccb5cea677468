Feature: Keys
  Who gets in, as what, for how long and how often; nobody learns a secret by the way.

  @own
  Scenario: A key opens what its role says, until it is revoked
    Given rbee serves the model tiny
    And a key phone
    And a key office made with --role admin --name office
    When nobody in particular requests GET /v1/models
    Then the answer is 401 KEY_MISSING
    And SDKs are told not to retry
    When I request GET /v1/models with the header Authorization: Bearer any
    Then the answer is 401 KEY_INVALID
    When nobody in particular requests GET /health
    Then the answer is 200
    When I ask for 4 tokens with the key phone as x-api-key
    Then the answer is 200
    When the key phone requests GET /rbee/keys
    Then the answer is 403 KEY_ROLE
    When the key office requests GET /rbee/keys
    Then the answer is 200
    When rbee is run over the network with the key office: stop tiny
    Then it exits with 0
    When rbee is run over the network with the key phone: stop tiny
    Then it exits with 1
    And it says KEY_ROLE
    And the secret of the key office is nowhere in the home or the processes of rbee
    When the key phone is revoked
    And the key phone requests GET /v1/models
    Then the answer is 401 KEY_REVOKED
    When I run rbee keys revoke nobody
    Then it exits with 1
    And it says KEY_NOT_FOUND

  @own
  Scenario: A stream outlives its key, and the next request is told when it expired
    Given rbee serves the model tiny
    And a key short made with --expires 2s
    And a stream is running
    When the key short has expired
    Then the answer is 401 KEY_EXPIRED
    And the stream ends with its finish
    And its message says 20

  @own
  Scenario: A key has a rate, and the wait that is told is true
    Given rbee serves the model tiny
    And a key slow made with --rpm 20
    When the key slow asks until it is refused
    Then the answer is 429 RATE_LIMITED
    And 20 or a few more requests were served, each told what was left
    And the key slow is served again after the time that it was told

  @own
  Scenario: With a key rbee listens where others reach it, and asks them all for one
    Given a key phone
    And the key phone is in the environment
    When I run rbee up --detach --host 0.0.0.0
    Then it exits with 0
    And the secret of the key phone is nowhere in the home or the processes of rbee
    When nobody in particular requests GET /v1/models
    Then the answer is 401 KEY_MISSING
    When the key phone requests GET /v1/models
    Then the answer is 200
    When everything of rbee is killed at once
    And I run rbee up --detach --host 0.0.0.0
    And the key phone requests GET /v1/models
    Then the answer is 200
