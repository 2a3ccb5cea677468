"""What an engine says when its GPU fails: CUDA, ROCm (HIP), Vulkan, Metal.

No GPU stood by: each row was read from the engine's source. The text, its file and line, and the
build stand in `tests/policy/fixtures/engine_source.toml`.
"""

from __future__ import annotations

from rbee.policy.message_row import Row, row

_MEMORY = "GPU_OUT_OF_MEMORY"
_ERROR = "GPU_ERROR"

GPU_ROWS: tuple[Row, ...] = (
    row(
        "CUDA and ROCm allocation",
        _MEMORY,
        r"allocating (?P<size>[\d.]+) MiB on device (?P<device>\d+): cudaMalloc failed: .*memory",
        "{size} MiB more were not to be had on GPU {device}",
    ),
    row(
        "CUDA and ROCm memory in use",
        _MEMORY,
        r"\b(?P<api>CUDA|ROCm|MUSA) error: (?:out of memory|CUBLAS_STATUS_ALLOC_FAILED)",
        "{api} had no memory left while it computed",
    ),
    row(
        "CUDA and ROCm without code",
        _ERROR,
        r"ERROR: (?P<api>CUDA|HIP) kernel \S+ has no device code compatible with",
        "this engine was not built for this GPU ({api})",
    ),
    row(
        "CUDA and ROCm",
        _ERROR,
        r"\b(?P<api>CUDA|ROCm|MUSA) error: (?P<why>.+)",
        "{api}: {why}",
    ),
    row(
        "CUDA and ROCm allocation broken",
        _ERROR,
        r"on device (?P<device>\d+): cudaMalloc failed: (?P<why>.+)",
        "GPU {device} gives no memory: {why}",
    ),
    row(
        "Vulkan allocation",
        _MEMORY,
        r"ggml_vulkan: (?:Device m|M)emory allocation of size (?P<size>\d+) failed",
        "{size} bytes more were not to be had on the GPU (Vulkan)",
    ),
    row(
        "Vulkan buffer limit",
        _MEMORY,
        r"Requested buffer size exceeds device buffer size limit",
        "the GPU holds no buffer as large as this model needs (Vulkan)",
    ),
    row(
        "Vulkan device lost",
        _ERROR,
        r"ggml_vulkan: device lost on (?P<device>[^,]+)",
        "the GPU {device} was lost while it computed (Vulkan)",
    ),
    row(
        "Vulkan fault",
        _ERROR,
        r"ggml_vulkan: device fault on (?P<device>[^:]+): (?P<why>.+)",
        "the GPU {device} failed: {why} (Vulkan)",
    ),
    row(
        "Vulkan fence",
        _ERROR,
        r"ggml_vulkan: error (?P<why>\S+) at \S+",
        "the GPU did not finish: {why} (Vulkan)",
    ),
    row(
        "Vulkan index",
        _ERROR,
        r"ggml_vulkan: Device with index (?P<index>\d+) does not exist",
        "there is no GPU {index} (Vulkan)",
    ),
    row(
        "Vulkan version",
        _ERROR,
        r"ggml_vulkan: Error: Vulkan 1\.2 required",
        "its driver is older than Vulkan 1.2",
    ),
    row(
        "Vulkan 16 bit",
        _ERROR,
        r"ggml_vulkan: device (?P<device>\S+) does not support 16-bit storage",
        "the GPU {device} does not know 16-bit storage (Vulkan)",
    ),
    row(
        "Metal buffer",
        _MEMORY,
        r"failed to allocate Metal buffer of (?P<size>\d+) bytes \(out of memory\)",
        "{size} bytes more were not to be had on the GPU (Metal)",
    ),
    row(
        "Metal allocation",
        _MEMORY,
        r"error: failed to allocate buffer, size = +(?P<size>[\d.]+) MiB",
        "{size} MiB more were not to be had on the GPU (Metal)",
    ),
    row(
        "Metal command buffer",
        _ERROR,
        r"error: command buffer \d+ failed with status (?P<status>\d+)",
        "the GPU broke off its work with status {status} (Metal)",
    ),
    row(
        "Metal queue",
        _ERROR,
        r"error: failed to create command queue",
        "the GPU takes no work (Metal)",
    ),
    row(
        "Metal library",
        _ERROR,
        r"error: failed to initialize the Metal library",
        "its programs cannot be built for this GPU (Metal)",
    ),
    row(
        "buffer of a device",
        _MEMORY,
        r"unable to allocate (?P<device>(?:CUDA|ROCm|Vulkan|MTL|Metal)\w*) buffer",
        "a part of the model found no room on {device}",
    ),
)
"""In order of precedence, as in `engine_messages`."""

GPU_HINTS: tuple[Row, ...] = (
    row(
        "CUDA and ROCm start",
        _ERROR,
        r"failed to initialize (?P<api>CUDA|ROCm|MUSA): (?P<why>.+)",
        "{api} does not start: {why}",
    ),
    row(
        "Vulkan index in the environment",
        _ERROR,
        r"ggml_vulkan: Invalid device index (?P<index>\d+) in GGML_VK_VISIBLE_DEVICES",
        "GGML_VK_VISIBLE_DEVICES names GPU {index}, which is not there",
    ),
)
"""The engine goes on with the CPU after these: they are the cause only where nothing else is."""
