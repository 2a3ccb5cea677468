Feature: Memory is shared out, and runs out for one worker at a time
  What is asked for gets room; what is used is never cut; what is too large is told in numbers.

  @own @serial
  Scenario: Memory runs out while a model loads
    Given the setting RBEE_WORKER_MEMORY is 300MiB
    And rbee serves the model tiny
    And control groups can bound memory here
    And the worker is noted
    When I serve another model with --ctx 30000 --parallel 1
    Then it exits with 137
    And it says WORKER_OUT_OF_MEMORY
    And the worker is the same
    And a request is served

  @own @serial
  Scenario: Memory runs out while a model serves
    Given the setting RBEE_WORKER_MEMORY is 400MiB
    And rbee serves the model tiny with --replicas 2
    And control groups can bound memory here
    And an answer of 120 tokens is running
    When memory runs out in the control group of the worker that answers
    Then the event log names WORKER_OUT_OF_MEMORY
    And every stream ended with its finish
    And another worker took the answer up
    And the worker is the same
    And another worker is ready within 20 s
    And a request is served

  @own
  Scenario: A worker may not have the addresses that it needs
    Given the setting RBEE_MEMORY is 30GB
    And the model tiny is stored
    And rbee is up
    When the hive may use 3 GB of addresses
    And I run rbee serve tiny --ctx 400000 --parallel 1
    Then it exits with 137
    And it says WORKER_OUT_OF_MEMORY

  @own
  Scenario: Three models in a memory for two
    Given the setting RBEE_MEMORY is 1000MiB
    And the models one, two, three are stored, which differ
    When I ask one, two, three in turn, 3 times
    Then every answer was 200
    And at most 2 models are loaded

  @own @serial
  Scenario: Three models in a memory for two, asked at the same time
    Given the setting RBEE_MEMORY is 1000MiB
    And the models one, two, three are stored, which differ
    When clients ask one, two, three at the same time, 8 times each
    Then every answer was 200
    And fewer than 10 loads were needed

  @own
  Scenario: A model that serves is not unloaded for another
    Given the setting RBEE_MEMORY is 600MiB
    And the models one, two are stored, which differ
    And a stream of one is running
    When I ask for two beside it
    Then rbee ps says that two waits for one
    And every stream ended with its finish

  @own
  Scenario: What is to stay loaded is not unloaded, and what does not fit is told in numbers
    Given the setting RBEE_MEMORY is 600MiB
    And the models tiny, two are stored, which differ
    When I run rbee serve tiny
    Then it exits with 0
    Given the worker is noted
    When I run rbee serve two
    Then it exits with 1
    And it says MODEL_TOO_LARGE
    And it says tiny stays loaded
    And the worker is the same
    When I run rbee stop tiny
    Then a worker of two is ready within 20 s

  @own
  Scenario: Everything is freed for a game, and comes back
    Given rbee serves the model tiny
    When I run rbee stop --all
    Then it exits with 0
    And no worker is left within 1 s
    When I run rbee up --detach
    Then it exits with 0
    And a worker of tiny is ready within 20 s

  @own
  Scenario: Open files run low
    Given rbee is up
    When the hive may open 2 files more
    Then the event log names RESOURCES_LOW
    And the event log names open files

  @own
  Scenario: A context that does not fit is answered with the largest that does
    Given the setting RBEE_MEMORY is 700MiB
    And the model tiny is stored
    When I run rbee serve tiny --ctx 200000 --parallel 1
    Then it exits with 1
    And it says MODEL_TOO_LARGE
    And it says is the largest that fits
    When I run what it advises
    Then it exits with 0
    And a request is served

  @own
  Scenario: A model that does not fit as usual is given less, and says so
    Given the setting RBEE_MEMORY is 600MiB
    And the setting RBEE_DEFAULTS_CTX is auto
    And the setting RBEE_DEFAULTS_PARALLEL is auto
    And rbee serves the model tiny
    When I run rbee ps
    Then it says slots=1 instead of 4
    And a request is served
    And the event log names MODEL_DEGRADED

  @own @serial
  Scenario: Another program takes the machine's memory, and gives it back
    Given the model tiny is stored
    And rbee is down
    And the setting RBEE_MEMORY_LOOK_S is 0.5
    And rbee is up on a machine of 700 MiB
    And 100 places are in its line
    When another program takes all but 3 % of the memory
    Then 50 places are in its line within 5 s
    And the event log names MEMORY_SHORT
    When I ask for 4 tokens
    Then the answer is 507 MODEL_TOO_LARGE
    And its message says needs
    When the other program ends
    Then more than 50 places are in its line within 15 s
    When I ask for 4 tokens
    Then the answer is 200
