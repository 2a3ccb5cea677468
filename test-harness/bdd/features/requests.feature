Feature: Requests, good and bad
  Every mistake gets a 4xx with a code, what was wrong and what to do; the process goes on serving.

  Scenario: Models are listed with what clients need
    Given rbee serves the model tiny
    When I request GET /v1/models
    Then the answer is 200
    And the models listed are tiny
    And nothing in it is a path

  Scenario: Embeddings from a model that chats
    Given rbee serves the model tiny
    When I post to /v1/embeddings the body {"model": "tiny", "input": "hello"}
    Then the answer is 200
    And it holds 576 numbers
    And a request is served

  Scenario Outline: Bodies that are no requests
    Given rbee serves the model tiny
    When I post to /v1/chat/completions the body <body>
    Then the answer is 400 <code>
    And a request is served

    Examples:
      | body                                                    | code            |
      | {                                                       | INVALID_REQUEST |
      | []                                                      | INVALID_REQUEST |
      | null                                                    | INVALID_REQUEST |
      | {"model": 5}                                            | INVALID_REQUEST |
      | {"model": "tiny", "stream": "yes", "messages": []}      | INVALID_REQUEST |
      | {"model": "tiny", "seed": "x", "messages": []}          | INVALID_REQUEST |
      | {"model": "tiny", "timeout_s": -1, "messages": []}      | INVALID_REQUEST |
      | {"model": "tiny"}                                       | ENGINE_REFUSED  |
      | {"model": "tiny", "messages": "hello"}                  | ENGINE_REFUSED  |
      | {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": "x"} | ENGINE_REFUSED |
      | {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "grammar": "root ::= ("} | ENGINE_REFUSED |
      | {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "tools": "x"} | ENGINE_REFUSED |
      | {"model": "tiny", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]} | ENGINE_REFUSED |
      | \xff\xfe                                                | INVALID_REQUEST |

  Scenario Outline: Routes and methods that are not there
    Given rbee serves the model tiny
    When I request <method> <path>
    Then the answer is <status> <code>

    Examples:
      | method | path                 | status | code               |
      | GET    | /v2/models           | 404    | ROUTE_NOT_FOUND    |
      | DELETE | /v1/models           | 405    | METHOD_NOT_ALLOWED |
      | GET    | /v1/models/nothing   | 404    | MODEL_NOT_FOUND    |

  Scenario: Acts of administration are not open on the network address
    Given rbee serves the model tiny
    When I post to /rbee/shutdown the body {}
    Then the answer is 403 ADMIN_ONLY

  Scenario: A web page from elsewhere is refused
    Given rbee serves the model tiny
    When I request GET /v1/models with the header Host: evil.example
    Then the answer is 403 HOST_FORBIDDEN
    When I request GET /v1/models with the header Origin: https://evil.example
    Then the answer is 403 ORIGIN_FORBIDDEN
    When I post text to /v1/chat/completions
    Then the answer is 415 CONTENT_TYPE_REFUSED

  Scenario: A client gives its request an id of its own
    Given rbee serves the model tiny
    When I ask with the id 7f3c5a4e-2d0b-4c1e
    Then the answer has this id, and so has the log of rbee
    When I ask with an id that is no plain word
    Then the answer has another id

  Scenario: A prompt longer than the context
    Given rbee serves the model tiny
    When I send a prompt of 2000 words
    Then the answer is 400 CONTEXT_OVERFLOW
    And its numbers are 2000 and 512

  Scenario: An engine that cannot do what is asked
    Given rbee serves the model tiny
    When I post to /v1/rerank the body {"model": "tiny", "query": "a", "documents": ["b"]}
    Then the answer is 501 ENDPOINT_UNSUPPORTED

  Scenario: Bytes that are no HTTP
    Given rbee serves the model tiny
    When I send bytes that are no HTTP
    Then the bytes were answered with 400 HTTP_MALFORMED
    And a request is served

  Scenario: A body that is too large
    Given rbee serves the model tiny
    When I send a body of 65 MiB
    Then the answer is 413 REQUEST_TOO_LARGE
    And a request is served

  @own
  Scenario: Half a request, and nothing more
    Given the setting RBEE_REQUEST_HEAD_S is 0.3
    And rbee is up
    When I send half a request
    Then the bytes were answered with 408 REQUEST_TIMEOUT

  @own
  Scenario: One connection more than rbee keeps
    Given the setting RBEE_CONNECTIONS is 3
    And rbee is up
    When 3 clients connect and say nothing
    And I request GET /health
    Then the answer is 503 TOO_MANY_CONNECTIONS
    When they hang up
    Then a look at its health is answered

  Scenario: A deadline that is too short
    Given rbee serves the model tiny
    When I post to /v1/chat/completions the body {"model": "tiny", "timeout_s": 0.5, "max_tokens": 400, "messages": [{"role": "user", "content": "Tell a long story."}]}
    Then the answer is 504 DEADLINE_EXCEEDED
    And the slot is free within 2 s

  Scenario: The client hangs up in the middle of an answer
    Given rbee serves the model tiny
    And a stream is running
    When the client of the stream hangs up
    Then the slot is free within 1 s

  Scenario: The client hangs up while its prompt is read
    Given rbee serves the model tiny
    When a client hangs up while its prompt is being read
    Then the slot is free within 2.5 s
    And a request is served

  Scenario Outline: A client that waits for a whole answer hangs up
    Given rbee serves the model tiny
    When a client of <path> hangs up while its prompt is being read
    Then the slot is free within 1 s
    And the engine rests within <limit> s

    Examples:
      | path                 | limit |
      | /v1/chat/completions | 2.5   |
      | /v1/completions      | 2.5   |
      | /completion          | 2.5   |
      | /v1/responses        | 2.5   |
      | /v1/messages         | 8     |

  @serial
  Scenario: Fifty clients hang up, each at another moment
    Given rbee serves the model tiny
    When 50 clients hang up in line, in prefill and in their answers
    Then the slot is free within 2.5 s
    And the engine rests within 5 s
    And a request is served

  @own
  Scenario: More clients than slots and places
    Given the setting RBEE_LIMITS_QUEUE is 1
    And rbee serves the model tiny with --parallel 1
    When 6 clients ask at once
    Then each was answered with one of 200, 503
    And at least 2 of them got 200
    And at least 1 of them got 503

  @own
  Scenario: Nobody waits, by choice
    Given the setting RBEE_LIMITS_QUEUE is 0
    And rbee serves the model tiny with --parallel 1
    And a stream is running
    When I ask for 4 tokens
    Then the answer is 503 QUEUE_FULL

  Scenario: A thousand clients are connected at once
    Given rbee serves the model tiny
    When 1000 clients connect, and each asks what models there are
    Then each of them got its answer
    And a request is served
    When they all hang up
    Then rbee holds no descriptor more than before

  Scenario: A thousand requests of every kind leave nothing behind
    Given rbee serves the model tiny
    When 300 requests of every kind have come, and 700 more
    Then memory and descriptors of rbee are as they were after the first of them
