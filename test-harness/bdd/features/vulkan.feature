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
    And a request is served
    When the driver of that device is gone
    And the worker gets SIGKILL
    Then tiny is not served any more, because of DEVICE_UNAVAILABLE
    When I ask for 4 tokens
    Then the answer is 503 DEVICE_UNAVAILABLE
    And its message says vulkan:0
