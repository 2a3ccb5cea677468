Feature: Servers that somebody else runs
  vLLM, Ollama, another rbee: a server that speaks OpenAI's API joins the pool. rbee does not run it,
  and treats it like a worker of its own: looked at, limited, cut off, and its answers taken up.

  @own
  Scenario: A server of somebody else is asked like a model of one's own
    Given rbee is up
    And a server of somebody else with the model big/hermes-9 and a key
    When I run rbee workers attach {address} --model hermes --key-file {key_file} --json
    Then it exits with 0
    When I ask the model hermes for 5 tokens
    Then the text is 0 1 2 3 4, and names hermes alone
    And an embedding of hermes has 2 numbers
    And the server was asked for its own big/hermes-9, with its key and its own host
    When I post to /tokenize the body {"model": "hermes", "content": "Hi"}
    Then the answer is 501 ENDPOINT_UNSUPPORTED
    When I run rbee down
    And I run rbee up --detach
    And I ask the model hermes for 5 tokens
    Then the text is 0 1 2 3 4, and names hermes alone
    And the key stands in nothing that rbee wrote or said

  @own
  Scenario: What cannot be attached is refused with the reason, and not kept
    Given rbee is up
    And a server of somebody else with the models one and two
    When I run rbee workers attach {address}
    Then it says one, two; name one with --model
    When I run rbee workers attach {address} --model three
    Then it says the server has these models: one, two
    When I run rbee workers attach http://me:secret@127.0.0.1:1/v1
    Then it says INVALID_REQUEST
    When I run rbee workers attach http://127.0.0.1:9/v1
    Then it exits with 1
    And it says ATTACHED_UNREACHABLE
    And no worker is there

  @own
  Scenario: What the server refuses is told as it is, and its own faults as faults
    Given the setting RBEE_HEALTH_EVERY_S is 0.3
    And rbee is up
    And a server of somebody else with the model hermes and a key
    And it is attached with its key
    When I ask the model hermes: Too much
    Then the answer is 400 ENGINE_REFUSED
    When I ask the model hermes: Too many
    Then the answer is 429 ATTACHED_BUSY
    And I am told to come back in 7 s
    When I ask the model hermes: Break
    Then the answer is 502 ATTEMPTS_EXHAUSTED
    When the server is started again with another key
    Then rbee ps says why the server cannot be used: ATTACHED_KEY
    And the key stands in nothing that rbee wrote or said

  @own
  Scenario: A server that never begins, and one that stops in the middle
    Given the setting RBEE_ATTACHED_FIRST_TOKEN_S is 0.5
    And the setting RBEE_ATTACHED_TOKEN_S is 0.5
    And rbee is up
    And a server of somebody else with the model hermes
    And it is attached
    When I ask the model hermes: Begin never
    Then the answer is 504 FIRST_TOKEN_TIMEOUT
    When I ask the model hermes: Stop in the middle
    Then the answer is 504 TOKEN_STALL

  @own
  Scenario: A server that fails again and again gets nothing for a while, and is tried again
    Given the setting RBEE_BREAKER_OPEN_S is 2
    And rbee is up
    And a server of somebody else with the model hermes
    And it is attached
    When I ask the model hermes: Break
    And I ask the model hermes: Break
    And I ask the model hermes for 2 tokens
    Then the answer is 503 CIRCUIT_OPEN
    And the event log names CIRCUIT_OPEN
    And the model hermes answers again within 10 s

  @own
  Scenario: A server that goes away, and comes back
    Given the setting RBEE_HEALTH_EVERY_S is 0.3
    And rbee is up
    And a server of somebody else with the model hermes
    And it is attached
    When the server is killed
    Then everything that shows workers says FAILED and ATTACHED_UNREACHABLE
    When I ask the model hermes for 5 tokens
    Then the answer is 503 ATTACHED_UNREACHABLE
    When the server is started again
    Then it serves again by itself
    And the event log names ATTACHED_UNREACHABLE

  @own
  Scenario: rbee stops nothing that it did not start
    Given rbee is up
    And a server of somebody else with the model hermes
    And it is attached
    When I run rbee stop a1
    Then it exits with 1
    And it says ATTACHED_NOT_OURS
    When I run rbee stop hermes
    Then it says ATTACHED_NOT_OURS
    When I run rbee workers logs a1
    Then it says rbee cannot read the log of it
    When I run rbee stop --all
    Then it exits with 0
    When I run rbee workers detach {address}
    Then it exits with 0
    And no worker is there
    And the server runs on

  # Three of them are the stream faults that LiteLLM #40404 lists.
  @own
  Scenario: A network that breaks answers between rbee and two servers
    Given the setting RBEE_ATTACHED_TOKEN_S is 1
    And rbee is up
    And two servers of somebody else with the model hermes behind a broken proxy
    Then an answer of 60 tokens is whole, though the proxy cuts it after 40 events
    And an answer of 60 tokens is whole, though the proxy resets it after 40 events
    And an answer of 60 tokens is whole, though the proxy falls silent after 40 events
    And an answer of 60 tokens is whole, though the proxy garbles an event after 40 events
    And an answer of 60 tokens is whole, though the proxy lets it trickle after 40 events
    And an answer of 60 tokens is whole, though the proxy drops the finish after 40 events
    And an answer of 60 tokens in one piece is whole, though the proxy resets it after 40 events

  @own
  Scenario: Recorded tool calls are replayed, whatever breaks
    Given rbee is up
    And two servers behind a broken proxy that say what a llama-server said
    Then the recorded tool calls come whole and once, though the proxy cuts it after 4 events
    And the recorded tool calls come whole and once, though the proxy resets it after 9 events
    And the recorded tool calls come whole and once, though the proxy garbles an event after 14 events
    When a server is killed after 6 events of the recorded tool calls
    Then the recorded tool calls came whole and once, from the other

  @own
  Scenario: Tool calls in vLLM's form are replayed, whatever breaks
    Given rbee is up
    And two servers of somebody else with the model hermes behind a broken proxy
    Then two tool calls come whole and once, though the proxy cuts it after 4 events
    And two tool calls come whole and once, though the proxy resets it after 8 events
    And two tool calls come whole and once, though the proxy garbles an event after 10 events

  @own
  Scenario: Two workers with different digests
    Given rbee serves the model tiny
    And a server of somebody else with the model tiny
    And it is attached
    When 4 requests ask for the digest of the worker of rbee's own
    Then the server was asked for none of them
    When the worker of rbee's own gets SIGKILL in the middle of an answer
    Then the answer was continued by the server, and says so
    When the worker of rbee's own gets SIGKILL in the middle of an answer that must be exact
    Then the answer is given up with SPLICE_DIVERGED

  @own
  Scenario: A network that breaks between rbee and a server on another machine
    Given the setting RBEE_ATTACHED_TOKEN_S is 1
    And the setting RBEE_HEALTH_EVERY_S is 0.2
    And the setting RBEE_CONNECT_S is 0.3
    And rbee is on one side of a network, and a server with the model hermes on the other
    And a second server with the model hermes runs beside rbee
    When the network drops everything in the middle of an answer from there
    Then the answer is whole, and the server beside rbee went on
    And the server there is shown as FAILED
    When the network is whole again
    Then the server there is shown as READY
    When the network resets everything in the middle of an answer from there
    Then the answer is whole, and the server beside rbee went on
    And the server there is shown as FAILED
    When the network is whole again
    Then the server there is shown as READY
    When the network loses what rbee sends in the middle of an answer from there
    Then the answer is whole, and the server beside rbee went on

  @own
  Scenario: A network between rbee and a server that flaps, and that loses much
    Given rbee is on one side of a network, and a server with the model hermes on the other
    When the link is down for 1.5 s in the middle of an answer from there
    Then the answer is whole, and nothing broke off
    When the network loses 30 of a hundred packets in the middle of an answer, for 5 s at most
    Then the answer is whole

  @own
  Scenario: A machine that vanishes while its server reads a long prompt
    Given the setting RBEE_ATTACHED_GONE_S is 3
    And rbee is on one side of a network, and a server with the model hermes on the other
    And a second server with the model hermes runs beside rbee
    When the network drops everything while the server there reads a prompt
    Then the answer is whole, and the server beside rbee gave all of it

  @own
  Scenario: How long a server takes to answer is measured and shown
    Given the setting RBEE_HEALTH_EVERY_S is 0.3
    And rbee is up
    And a server of somebody else with the model hermes
    And it is attached over a line that takes 120 ms each way
    Then rbee shows that it takes at least 240 ms, and not twice as long
    When the server is killed
    Then rbee shows no time of it any more
