Feature: A real second backend
  The engine computes with Vulkan, and Mesa's driver does on the processor what it is told as a GPU.
  What is found, used and lost here is no stand-in.

  @own @serial
  Scenario: A Vulkan device is used, and refused once its driver is gone
    Given an engine that computes with Vulkan, and a driver for it
    And the model tiny is stored
    When I run rbee serve tiny --device vulkan:0 --wait
    Then it exits with 0
    And the worker is on vulkan:0, with all layers
    When I ask for 2 tokens
    Then the answer is 200
    When the driver of that device is gone
    And the worker gets SIGKILL
    Then tiny is not served any more, because of DEVICE_UNAVAILABLE
    When I ask for 4 tokens
    Then the answer is 503 DEVICE_UNAVAILABLE
    And its message says vulkan:0

  @own @serial
  Scenario: A Vulkan device goes, the processor takes over, and the device comes back
    Given the setting RBEE_DEVICE_REST_S is 1
    And an engine that computes with Vulkan, and a driver for it
    And the model tiny is stored
    When I run rbee serve tiny --device vulkan:7 --wait
    Then it exits with 1
    And it says vulkan:7 was asked for, and this engine offers cpu, vulkan:0
    When the driver of that device is gone
    And I run rbee serve tiny --device vulkan:0 --wait
    Then it exits with 1
    And it says DEVICE_UNAVAILABLE
    When I run rbee serve tiny --device vulkan:0 --fallback --wait
    Then it exits with 0
    And the model runs on cpu within 15 s, degraded because of vulkan:0
    When the driver of that device is back
    Then the model runs on vulkan:0 within 60 s, as it was asked for
    And the worker is on vulkan:0, with all layers
    When I ask for 2 tokens
    Then the answer is 200
