Feature: A GPU fails, and the model goes on
  What failed rests, the next device of the chain takes over and says so, and the model comes back.
  No GPU is at hand: a stand-in for the engine fails as its source has it, and serves what the real
  engine computes.

  @own
  Scenario: A GPU is lost while it serves, and the model comes back to it
    Given the setting RBEE_DEVICE_REST_S is 6
    And a stand-in for an engine with the GPUs CUDA0, Vulkan0
    And rbee serves the model tiny
    And a stream is running
    When the GPU CUDA0 says: CUDA error: unspecified launch failure
    Then the stream ends with its finish
    And the model runs on vulkan:0 within 15 s, degraded because of unspecified launch failure
    And rbee doctor says that cuda:0 rests because of unspecified launch failure
    And the event log names GPU_ERROR
    When the GPU CUDA0 is well again
    Then the model runs on cuda:0 within 30 s, as it was asked for
    And a request is served
    And the event log names cuda:0 serves again

  @own
  Scenario Outline: A GPU takes no model, and the next device does
    Given a stand-in for an engine with the GPUs <gpu>
    And loads on <gpu> say: <line>
    And the model tiny is stored
    When I run rbee infer -m tiny --max-tokens 4 -p Hi
    Then it exits with 0
    And it says device=cpu (<device>: <cause>
    And the event log names <code>
    And the event log names MODEL_DEGRADED

    Examples:
      | gpu     | device   | line                                                                                                    | code              | cause                     |
      | ROCm0   | rocm:0   | ggml_backend_cuda_buffer_type_alloc_buffer: allocating 96.00 MiB on device 0: cudaMalloc failed: out of memory | GPU_OUT_OF_MEMORY | 96.00 MiB more            |
      | Vulkan0 | vulkan:0 | ggml_vulkan: device lost on AMD Radeon RX 6700                                                          | GPU_ERROR         | the GPU AMD Radeon        |

  @own
  Scenario: A GPU that was insisted on is refused until it is well
    Given the setting RBEE_DEVICE_REST_S is 1
    And a stand-in for an engine with the GPUs CUDA0
    And loads on CUDA0 say: CUDA error: an illegal memory access was encountered
    And the model tiny is stored
    When I run rbee serve tiny --device cuda:0
    Then it exits with 1
    And it says DEVICE_FAULTY
    And it says illegal memory access
    When I ask for 4 tokens
    Then the answer is 503 DEVICE_FAULTY
    When the GPU CUDA0 is well again
    Then the model runs on cuda:0 within 30 s, as it was asked for
    And a request is served

  @own
  Scenario: A GPU goes away, and the model stays refused or degraded until it returns
    Given the setting RBEE_DEVICE_REST_S is 0.5
    And a stand-in for an engine with the GPUs Vulkan0
    And rbee serves the model tiny
    When the GPU Vulkan0 is gone
    And I run rbee stop tiny
    And I run rbee serve tiny --device vulkan:0
    Then it exits with 1
    And it says DEVICE_UNAVAILABLE
    When I run rbee serve tiny --device vulkan:0 --fallback
    Then it exits with 0
    And the model runs on cpu within 15 s, degraded because of vulkan:0
    When the GPU Vulkan0 is there again
    Then the model runs on vulkan:0 within 30 s, as it was asked for

  @own
  Scenario: A GPU is named that is not there
    Given a stand-in for an engine with the GPUs CUDA0
    And the model tiny is stored
    When I run rbee serve tiny --device cuda:3
    Then it exits with 1
    And it says DEVICE_UNAVAILABLE
    And it says cuda:3 was asked for, and this engine offers cpu, cuda:0

  @own
  Scenario: An engine puts nothing on the GPU that it was started for
    Given a stand-in for an engine with the GPUs CUDA0
    And loads on CUDA0 say: nothing
    And the model tiny is stored
    When I run rbee infer -m tiny --max-tokens 4 -p Hi
    Then it exits with 0
    And it says the engine puts nothing on it
    When I run rbee serve tiny --device cuda:0
    Then it exits with 1
    And it says DEVICE_UNAVAILABLE

  @own
  Scenario: Another program holds the memory of the GPU
    Given the setting RBEE_DEVICE_REST_S is 1
    And NVIDIA's library tells of a card with 300 MiB free, and a program that holds the rest
    And a stand-in for an engine with the GPUs CUDA0
    And the model tiny is stored
    When I run rbee serve tiny --device cuda:0
    Then it exits with 1
    And it says MODEL_TOO_LARGE
    And it names the program that holds the memory
    When I run rbee serve tiny --device cuda:0 --fallback
    Then it exits with 0
    And the model runs on cpu within 15 s, degraded because of too little memory
    And rbee doctor names the program that holds the memory
    When the program ends, and 8000 MiB are free
    Then the model runs on cuda:0 within 30 s, as it was asked for

  @own
  Scenario: A GPU is here that the engine cannot use
    Given NVIDIA's library tells of a card with 8000 MiB free, and a program that holds the rest
    And the model tiny is stored
    And rbee is up
    When rbee has looked at its engine
    And I run rbee infer -m tiny --max-tokens 2 -p Hi
    Then it exits with 0
    And it says is here, but this engine cannot use it
    And it says rbee engine use PATH
    When I run rbee ps
    Then it says cannot be used by this engine
    When I run rbee doctor
    Then it says this engine cannot use it
    When I run rbee engine list
    Then it says 7.8 GiB free   this engine cannot use it

  @own
  Scenario: A GPU becomes too hot
    Given the setting RBEE_MEMORY_LOOK_S is 0.5
    And NVIDIA's library tells of a card with 8000 MiB free, and a program that holds the rest
    And a stand-in for an engine with the GPUs CUDA0
    And rbee serves the model tiny
    When the card is at 95 degrees
    Then the event log names GPU_TOO_HOT
    And fewer requests may wait, for cuda:0 is too hot
    When the card is at 60 degrees
    Then the event log names cool enough again
    And a request is served
